"""`streame chaos`: a job is disturbed again and again, and must give what it gives undisturbed."""
