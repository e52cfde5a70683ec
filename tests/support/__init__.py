"""What several tests share: models, servers, data, and workers that run in processes of their own."""
