"""Augmentation of images, views, clouds and sketches."""
