"""Predicting with a bundle or a pretrained encoder; needs torch, and no Ray."""
