"""PDFs to pictures of their pages, drawn by processes of their own."""
