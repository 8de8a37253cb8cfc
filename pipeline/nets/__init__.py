"""Networks and searches that objectives share, of tensors alone: they know no modality, no sample and no setting."""
