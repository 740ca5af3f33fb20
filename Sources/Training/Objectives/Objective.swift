/// What a training run minimises. Raw values are those of `ivg.h`.
package enum Objective: UInt32, Sendable {
  /// The mean of −log π(y_t | x, y_<t) over completion tokens.
  case supervised = 1
  /// Preferences between two completions, against a reference (DPO and relatives).
  case preference = 2
  /// A scalar reward of whole completions from preferences (Bradley–Terry).
  case reward = 3
  /// A value of every prefix from the reward of the whole (FUDGE, CD-Q).
  case value = 4

  /// Its losses, the default first.
  package var losses: [LossKind] {
    switch self {
    case .supervised, .reward: []
    case .preference: [.sigmoid, .robust, .identity]
    case .value: [.regression, .classification, .expectation]
    }
  }
}

/// Variants of an objective. Raw values are those of `ivg.h`.
package enum LossKind: UInt32, Sendable {
  /// DPO: −log σ(β · log-ratio), with label smoothing the conservative variant.
  case sigmoid = 1
  /// The same, unbiased when a share of the labels is wrong.
  case robust = 2
  /// IPO: (log-ratio a token − 1 / 2β)².
  case identity = 3
  /// FUDGE: half the squared distance of every prefix to the reward.
  case regression = 4
  /// Cross-entropy of every prefix with a reward within 0 ... 1.
  case classification = 5
  /// CD-Q: the expected value of the next token, and the reward at the end.
  case expectation = 6
}
