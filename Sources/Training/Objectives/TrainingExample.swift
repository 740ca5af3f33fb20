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
    let count = sequence.tokens.count
    switch options.objective {
    case .value where !options.hasVocabularyHead:
      places = sequence.completionStart..<count
      targets = [Int32](repeating: 0, count: places.count)
    case .reward:
      places = count - 1..<count
      targets = [0]
    case .supervised, .preference, .value:
      // Before completion tokens: log p(y_t | x, y_<t), and V(x, y_≤t) = Q_{t−1}[y_t].
      places = sequence.completionStart - 1..<count - 1
      targets = Array(sequence.tokens[sequence.completionStart...])
    }
  }
}
