"""What is judged about a running migration, in one fixed order: protective gates first, approval last."""
