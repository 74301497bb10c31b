"""What people read about a migration: plan, runbook, checklist, incident, weekly and final report."""
