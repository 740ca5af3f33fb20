/// One line of data as a step uses it.
struct TrainingExample {
  /// Its number in its file.
  let number: Int
  /// Whether it is only evaluated.
  let isEvaluation: Bool
  /// One completion; or two, of a pair the better one first.
  let sequences: [EncodedSequence]
  /// Of the completion, where the objective needs one.
  let reward: Double

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
    let tokens = sequence.tokens
    switch options.objective {
    case .supervised, .preference:
      self.init(predicting: sequence)
    case .reward:
      places = tokens.count - 1..<tokens.count
      targets = [0]
    case .value:
      if options.hasVocabularyHead {
        // V(x, y_≤t) = Q_{t−1}[y_t]
        self.init(predicting: sequence)
      } else {
        places = sequence.completionStart..<tokens.count
        targets = [Int32](repeating: 0, count: places.count)
      }
    }
  }

  /// The places before completion tokens, and these tokens.
  private init(predicting sequence: EncodedSequence) {
    places = sequence.completionStart - 1..<sequence.tokens.count - 1
    targets = Array(sequence.tokens[sequence.completionStart...])
  }
}
