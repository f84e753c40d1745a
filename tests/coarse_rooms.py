"""Settings of simulated rooms that are small and coarsely scanned: half a second each."""

from mtml_tf.rooms.camera import ScanSettings
from mtml_tf.rooms.layout import RoomSettings
from mtml_tf.rooms.making import MakingSettings


def coarse_settings(seed=0, **settings):
    """Returns `making.MakingSettings`; takes what that does but for `room` and `scan`."""
    return MakingSettings(
        seed,
        room=RoomSettings(area=(22.0, 26.0), fullness=(1.0, 1.5)),
        scan=ScanSettings(
            num_frames=100, image_width=96, image_height=72, voxel_size=0.06, min_fragment=20
        ),
        **settings,
    )
