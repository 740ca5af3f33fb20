/// What a training run minimises.
package enum Objective: UInt32, Sendable {
  /// The mean of −log π(y_t | x, y_<t) over completion tokens.
  case supervised = 1
  /// Preferences between two completions, against a reference (DPO and relatives).
  case preference = 2
  /// A scalar reward of whole completions from preferences (Bradley–Terry).
  case reward = 3
  /// A value of every prefix from the reward of the whole (FUDGE, CD-Q).
  case value = 4
}
