"""What people read: markdown, the page and the figures."""
