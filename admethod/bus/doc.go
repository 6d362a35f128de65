// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package bus spreads detection over many processes: readings, checkpoints and verdicts go over streams of NATS JetStream, in
// a cluster or in the process (package embedded). Processes come, go and die; what is told, and what is learned, is what one
// process would have told and learned.
//
// # What is where
//
//	stream EA_READINGS      readings.<partition>                         readings in batches, until they are in a checkpoint
//	stream EA_VERDICTS      verdicts.<namespace>.<device>.<property>     verdicts, as sinks hear them
//	                        marks.<partition>                            how far the verdicts of a partition are told
//	bucket EA_OWNERS        worker.<name>, p.<partition>                 who is there, and who owns what
//	bucket EA_CHECKPOINTS   meta, p.<partition>                          what the checkpoint of a partition consists of
//	stream EA_STATE         state.<partition>.<epoch>-<id>.<piece>       state of detectors, in objects
//
// A [Publisher] hashes each reading to one of a fixed number of partitions, by namespace and group or device, so that a
// series is always on the same one. Take returns when JetStream has the readings: nobody keeps what the bus does not have. Of
// a partition one batch is under way at a time, and what waits is bounded, by the publisher (4,096 readings of a partition)
// and by the stream, which refuses more than its size: publishers then wait.
//
// # Exactly once
//
// The state of a partition is a function of its messages, in their order: a [Worker] judges by an intake that is driven (see
// package intake), which looks at no clock. What time it is, such as for silence, is told by the times at which JetStream
// took the messages; they are the same each time the messages are read. Where nothing comes, the owner publishes a message
// without readings once a second. A gap of five seconds says that the log stood still, and no silence is told of it.
//
// A batch has the name of its publisher and a number that ascends. JetStream drops a repeat by its message id for two
// minutes; an owner drops it for ever, as the last number of each publisher is part of the state.
//
// Verdicts of a message are told in an order that is the same each time. Some are written as one atomic batch of
// JetStream together with a mark that says up to which message, and which verdict of the next one, all are told; the mark is
// only taken if the last one is the one that the owner knows (expected last sequence of its subject). So:
//
//   - none is lost: readings are removed only after a checkpoint, which is made only after its verdicts are told;
//   - none is told twice: whoever goes on reads the last mark first, and tells nothing that is before it;
//   - an owner that was replaced without knowing tells nothing: the new one writes a mark before anything else, and
//     JetStream refuses each further batch of the old one. Checkpoints are fenced likewise, by the revision of their key.
//
// No clock, lease or window of time is part of that. Each verdict has the message id partition-message-number besides, for
// who copies the stream.
//
// # Who owns a partition
//
// Ownership decides who works, not what is right, so it may be simple: each worker says in a bucket that it is there, five
// times in the time of a lease; who was not heard of for that time, on the clock of who listens, is gone. Each partition is
// wanted by the live worker with the highest hash of both (rendezvous hashing), so that who comes or goes moves no other
// partitions. It is taken by an update of its key that names the revision before. An owner that is to give it up judges what
// it has read, writes a checkpoint, and clears the key.
//
// Partitioned consumer groups (orbit.go/pcgroups) and pinned consumers were looked at instead. Both deliver at least once to
// one member at a time, but neither gives the member a token that another stream could check, so fencing would have to be
// built beside them all the same; and both move acknowledgements on in the consumer, while here the position belongs to the
// state, and must be written with it. An ordered consumer that begins at the checkpoint is all that is needed of consumers.
//
// # Checkpoints
//
// A checkpoint is the sequence of a message and, as they were after it: the states of all series (detector, and all stages
// before and behind it), the row of each group that is being put together, which series are open and what is known of them,
// the time, and the last number of each publisher. States are written as objects, those alone that changed since the
// last checkpoint; when a partition has 24 of them, or they are three times as large as the state, it is written as a whole.
// The key in EA_CHECKPOINTS that lists the objects is what makes a checkpoint: it is written last. One is made every 30 s, less
// often where all of them would take more than 16 MiB a second, and when a partition is handed over. Then what it covers is
// purged from EA_READINGS.
//
// A new owner loads the objects, opens all series with their state, and reads on from the sequence; package intake proves
// that a series goes on to the bit.
//
// # What it does not do
//
// Readings of the gRPC and HTTP endpoints are not published: their clients wait for the verdict on each reading, which would
// need a way back. What a detector does after it panicked or hung depends on the process, as it does without a bus. A group
// whose name changes begins anew on its new partition. The partitions are as many as the bus was made with.
//
// # Another engine
//
// Kafka (with franz-go) would need: a topic each for readings, verdicts and marks with as many partitions; transactions in
// place of the atomic batch, with the partition's name as transactional id, whose epochs are the fencing; a compacted topic
// for checkpoints, as it has no objects; and the group protocol for ownership. What is here of JetStream alone is teller.send,
// checkpoints.put and objects, partition.subscribe, and the view of owners.
package bus
