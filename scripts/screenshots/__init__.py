"""Pictures of the playground for the README: `make screenshots` writes docs/screenshots/."""
