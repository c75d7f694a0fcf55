import io

import matplotlib.image
import numpy as np

from kgan.audio.pictures import contact_sheet, log_spectrogram


def test_full_scale_sine_is_0_db_at_its_bin():
    sine = np.sin(2 * np.pi * 1000 * np.arange(16384) / 16000)
    picture = log_spectrogram(sine)
    assert picture.shape == (513, 129)
    assert picture[:, 64].argmax() == 64  # 1000 Hz of 16000 over 1024 points
    assert abs(picture[64, 64]) < 0.1
    assert abs(log_spectrogram(0.1 * sine)[64, 64] + 20) < 0.1


def test_silence_is_the_floor():
    assert (log_spectrogram(np.zeros(4096)) == -80).all()


def test_contact_sheet_draws_every_clip(rng):
    def pixels(audio):
        return matplotlib.image.imread(io.BytesIO(contact_sheet(audio, 16000)), format="png")

    audio = rng.uniform(-1, 1, (10, 4096)).astype(np.float32)
    sheet = pixels(audio)
    assert sheet.shape[1] > sheet.shape[0] > 400  # two rows, eight columns
    silenced = audio.copy()
    silenced[9] = 0
    changed = np.abs(pixels(silenced) - sheet).max(axis=2) > 0.1
    assert changed[: sheet.shape[0] // 2].sum() == 0  # the tenth is in the second row alone
    assert changed[sheet.shape[0] // 2 :].sum() > 1000
    assert pixels(np.stack([audio, audio], axis=2)).shape == sheet.shape


def test_what_the_network_made_stands_above_what_sounds(rng):
    def pixels(made_db):
        png = contact_sheet(np.zeros((1, 4096), np.float32), 16000, made_db)
        return matplotlib.image.imread(io.BytesIO(png), format="png")[..., :3]

    made_db = np.full((1, 8, 16), -80.0)
    dark = pixels(made_db)
    made_db[0, :, 12:] = 0.0  # the upper quarter of the frequencies, at all times
    bright = np.argwhere(np.abs(pixels(made_db) - dark).max(axis=2) > 0.5)
    assert pixels(None).shape[0] < 0.65 * dark.shape[0]
    height, width = dark.shape[:2]
    assert 0.15 * height < bright[:, 0].min() < bright[:, 0].max() < 0.5 * height
    assert np.ptp(bright[:, 1]) > 0.7 * width
    assert 0.08 * height < np.ptp(bright[:, 0]) < 0.15 * height
