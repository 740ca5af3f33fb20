import Glibc

/// Losses of pairs, and what they depend on. All are functions of a distance d of chosen above rejected.
struct PairLoss {
  /// The loss of a pair.
  let loss: Double
  /// Its derivative by d.
  let slope: Double

  /// −log σ(d): Bradley–Terry, d = r_w − r_l.
  static func logistic(_ d: Double) -> PairLoss {
    PairLoss(loss: softplus(-d), slope: -sigmoid(-d))
  }

  /// −(1 − ε) log σ(d) − ε log σ(−d): DPO eq. 7 for ε = 0, else its conservative variant (cDPO).
  static func smoothed(_ d: Double, _ smoothing: Double) -> PairLoss {
    PairLoss(
      loss: (1 - smoothing) * softplus(-d) + smoothing * softplus(d),
      slope: sigmoid(d) - (1 - smoothing))
  }

  /// (−(1 − ε) log σ(d) + ε log σ(−d)) / (1 − 2ε): robust DPO (Chowdhury et al. 2024, eq. 12).
  static func robust(_ d: Double, _ smoothing: Double) -> PairLoss {
    let divisor = 1 - 2 * smoothing
    return PairLoss(
      loss: ((1 - smoothing) * softplus(-d) - smoothing * softplus(d)) / divisor,
      slope: (-(1 - smoothing) * sigmoid(-d) - smoothing * sigmoid(d)) / divisor)
  }

  /// (d − 1 / 2β)²: IPO (Azar et al. 2023, eq. 17), d the log-ratio a token as in TRL.
  static func identity(_ d: Double, _ beta: Double) -> PairLoss {
    let distance = d - 1 / (2 * beta)
    return PairLoss(loss: distance * distance, slope: 2 * distance)
  }

  static func sigmoid(_ x: Double) -> Double {
    x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x))
  }

  /// log(1 + eˣ)
  static func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }
}
