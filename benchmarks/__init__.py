"""What is asked of the backends, how it is measured, and what people read of it."""
