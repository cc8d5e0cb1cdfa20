"""Pictures of meshes and point clouds."""
