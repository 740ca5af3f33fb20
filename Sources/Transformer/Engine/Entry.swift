/// One token of a batch: the unit that a forward pass computes.
struct Entry {
  var token: Int32
  var position: Int32
  var sequence: SequenceID
  /// Index into the engine's adapters, or -1.
  var adapter: Int32
  /// See `Trunk.isLong`.
  var isLong: Bool
}

/// What is wanted back of an entry, once its final hidden state is known.
struct Output {
  enum Kind {
    /// The logits vector, into a row of the engine's logits.
    case logits(row: Int)
    /// log p(token) under the model, into a result slot.
    case logProbability(token: Int32)
    /// All outputs of a head, into a row of the engine's logits.
    case headVector(head: Int32, row: Int)
    /// One output of a head, into a result slot. `token` is 0 for a scalar head.
    case headValue(head: Int32, token: Int32)
    /// The final hidden state itself, into `hidden`.
    case hidden(UnsafeMutablePointer<Float>)
  }

  /// Index of the entry in the whole batch.
  var entry: Int
  var kind: Kind
  /// Result slot of the scalar kinds.
  var slot: Int
}
