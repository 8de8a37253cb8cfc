"""What encoders of transformers are made of: their networks, their ways of texts and of sounds."""
