"""Data sets and where they lie (imports no torch)."""

IMAGE_SETS = {
    "mnist": "batchot.data.sets.mnist:load_mnist",
    "cifar10": "batchot.data.sets.cifar10:load_cifar10",
    "digits": "batchot.data.sets.mnist:load_digits",
    "folder": "batchot.data.sets.pictures:load_image_folder",
}
"""Sets of images by their names in recipes: MODULE:FUNCTION, which gets root, download and size if it takes these."""
