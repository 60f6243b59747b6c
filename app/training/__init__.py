"""Fine-tuning: jobs that survive the server, trained in a process of their own."""
