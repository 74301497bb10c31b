"""What may stand in `tools` and `tool_choice`: kinds by model, choices, schemas, results of toolsets."""
