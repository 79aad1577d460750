"""What is served and how it is asked: spec, launch, endpoint, client, smoke tests. No SSH and no cloud calls here."""
