#!/bin/sh
# Inside the machine: a virtual radio, BlueZ, and the scanner that listens while everything around it breaks.
modprobe hci_vhci || exit 2
systemctl start bluetooth
exec /opt/v/bin/python hear.py
