"""When requests come: a TrafficTrace, made (``arrivals``), read (``logs``) or loaded (``trace``)."""
