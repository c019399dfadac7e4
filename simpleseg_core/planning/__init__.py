"""What a run would take, before anything is loaded: memory, hours and cost of every stage that trains."""
