"""How networks make values of modalities: what a modality says of that, and layers that its decoders share."""
