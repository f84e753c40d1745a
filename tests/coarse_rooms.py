"""Settings of simulated rooms that are small and coarsely scanned: half a second each."""

from mtml_tf.rooms.layout import RoomSettings
from mtml_tf.rooms.making import MakingSettings
from mtml_tf.rooms.scanner import ScanSettings


def coarse_settings(seed=0, **settings):
    """Returns `making.MakingSettings`; takes what that does but for `room` and `scan`."""
    return MakingSettings(
        seed,
        room=RoomSettings(min_size=4.5, max_size=5.0),
        scan=ScanSettings(
            num_frames=100, image_width=96, image_height=72, voxel_size=0.06, min_fragment=20
        ),
        **settings,
    )
