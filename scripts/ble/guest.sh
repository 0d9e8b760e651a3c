#!/bin/sh
# Inside the machine: a virtual radio, BlueZ, and the scanner that listens while everything around it breaks.
modprobe hci_vhci || exit 2
systemctl start bluetooth
/opt/v/bin/python hear.py
code=$?
[ $code = 0 ] || { tail -n 15 air.log; dmesg | grep -i bluetooth | tail -n 15; }
exit $code
