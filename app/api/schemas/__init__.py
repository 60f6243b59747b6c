"""Bodies of requests and responses: what the OpenAPI document and the generated clients show."""
