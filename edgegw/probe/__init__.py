"""Which device is it? Guesses for somebody with an unknown sensor in hand; nothing is changed in a device."""
