/// What one call of `Trainer.next` did: `ivg_trainer_report`. Figures that an objective does not have are
/// NaN.
package struct TrainerReport: Sendable {
  /// Raw values are those of `ivg.h`.
  package enum Kind: UInt32, Sendable {
    case prepare = 1
    case train, evaluate
  }

  package var kind: Kind
  package var step = 0
  package var stepCount = 0
  package var done = 0
  package var total = 0
  package var tokenCount = 0
  package var seconds = 0.0
  package var epoch = 0.0
  package var loss = Double.nan
  package var learningRate = Double.nan
  package var gradientNorm = Double.nan
  package var accuracy = Double.nan
  package var margin = Double.nan
  package var chosen = Double.nan
  package var rejected = Double.nan
  package var divergence = Double.nan
  package var correlation = Double.nan

  package init(_ kind: Kind) { self.kind = kind }
}
