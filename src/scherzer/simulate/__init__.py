"""A microscope session whose truth is known."""
