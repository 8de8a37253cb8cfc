"""Metrics of predictions: plain NumPy in, JSON-ready numbers out; the numbers are scikit-learn's.

Undefined numbers (no sample, a class that never occurs) are ``None``, never NaN, so that every
result survives a round trip through strict JSON.
"""
