"""The method: geometry, grammar, data, models, training; knows neither Prefect, MLflow nor DVC."""
