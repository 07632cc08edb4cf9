"""The services beside the stores, as far as the stores need them: objects, topics and tables.

Each answers at the emulator's own address in the JSON API of its Google service, and is used by
imports, exports, notifications and streams through the interfaces in `base`. An environment
variable puts another server in the place of each.
"""
