#!/bin/sh
# The verdict is in the environment, and as JSON on standard input. Nothing of it is ever part of a command.
echo "To the caretaker of $1: $ANOMALY_DEVICE $ANOMALY_PROPERTY is $ANOMALY_SEVERITY ($ANOMALY_KIND), it reads $ANOMALY_VALUE."
