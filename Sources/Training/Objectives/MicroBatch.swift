/// Examples that are computed together: some of a step's, as many as fit in a pass.
package struct MicroBatch {
  private(set) var examples: [TrainingExample] = []
  private(set) var packed = PackedBatch()
  /// Rows whose final hidden states are wanted, and the tokens they are asked about.
  private(set) var wanted: [Int] = []
  private(set) var targets: [Int32] = []
  /// The wanted rows of each sequence of each example.
  private(set) var spans: [[Range<Int>]] = []

  /// Divides `examples`, in order, into as few as hold at most `rows` tokens each; an example is not divided.
  /// `key`: see `PackedBatch.keys`.
  package static func divide(
    _ examples: [TrainingExample], rows: Int, options: TrainerOptions, key: UInt64 = 0
  ) -> [MicroBatch] {
    var batches: [MicroBatch] = []
    for example in examples {
      if batches.isEmpty || batches.last!.packed.count + example.tokenCount > rows {
        batches.append(MicroBatch())
      }
      batches[batches.count - 1].append(example, options, key)
    }
    return batches
  }

  private mutating func append(_ example: TrainingExample, _ options: TrainerOptions, _ key: UInt64)
  {
    examples.append(example)
    var own: [Range<Int>] = []
    for (index, sequence) in example.sequences.enumerated() {
      let place = UInt64(example.number) &* 2 &+ UInt64(index)
      let rows = packed.append(sequence.tokens, key: SplitMix.mix(key &+ SplitMix.mix(place)))
      let places = Places(sequence, options)
      let first = wanted.count
      wanted += places.places.map { rows.lowerBound + $0 }
      targets += places.targets
      own.append(first..<wanted.count)
    }
    spans.append(own)
  }
}
