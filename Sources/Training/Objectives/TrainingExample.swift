/// One line of data as a step uses it.
package struct TrainingExample {
  /// Its number in its file.
  package let number: Int
  /// Whether it is only evaluated.
  let isEvaluation: Bool
  /// One completion; or two, of a pair the better one first.
  let sequences: [EncodedSequence]
  /// Of the completion, where the objective needs one.
  let reward: Double

  package init(
    number: Int, isEvaluation: Bool = false, sequences: [EncodedSequence], reward: Double = 0
  ) {
    self.number = number
    self.isEvaluation = isEvaluation
    self.sequences = sequences
    self.reward = reward
  }

  /// Different for every example of a run.
  var key: Int { isEvaluation ? ~number : number }

  var tokenCount: Int { sequences.reduce(0) { $0 + $1.tokens.count } }
}

/// What of a sequence an objective looks at: places whose final hidden states are wanted, and the token that
/// each is asked about.
struct Places {
  let places: Range<Int>
  let targets: [Int32]

  init(_ sequence: EncodedSequence, _ options: TrainerOptions) {
    places = Self.range(sequence, options)
    switch options.objective {
    case .value where !options.hasVocabularyHead, .reward:
      targets = [Int32](repeating: 0, count: places.count)
    case .supervised, .preference, .value:
      targets = Array(sequence.tokens[sequence.completionStart...])
    }
  }

  /// The places alone. (Making `targets` only to drop them lets the optimiser of Swift 6.3 write them after
  /// it has freed them.)
  static func range(_ sequence: EncodedSequence, _ options: TrainerOptions) -> Range<Int> {
    let count = sequence.tokens.count
    switch options.objective {
    case .value where !options.hasVocabularyHead: return sequence.completionStart..<count
    case .reward: return count - 1..<count
    // Before completion tokens: log p(y_t | x, y_<t), and V(x, y_≤t) = Q_{t−1}[y_t].
    case .supervised, .preference, .value: return sequence.completionStart - 1..<count - 1
    }
  }
}
