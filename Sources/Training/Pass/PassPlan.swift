import CIVGKernels
import Tensor
import Transformer

/// The sizes of a training pass, and what they cost.
package struct PassPlan {
  let trunk: Trunk
  /// Rows (tokens) of a batch at most.
  package let rows: Int
  /// Rows whose final hidden state is wanted, at most.
  let wanted: Int
  /// Tokens of a sequence at most.
  let longest: Int
  /// The adapter's rank, 0 without one.
  let rank: Int
  let workers: Int
  /// Whether log-probabilities are computed.
  let hasLogits: Bool
  let hasDropout: Bool
  /// Layers whose activations stay in memory; those of the others are computed again on the way back.
  package var keptLayers = 0

  /// Bytes of logits in memory at a time.
  private static let logitBytes = 96 << 20

  package init(
    trunk: Trunk, rows: Int, wanted: Int, longest: Int, rank: Int, workers: Int,
    hasLogits: Bool = true, hasDropout: Bool = false
  ) {
    self.trunk = trunk
    self.rows = rows
    self.wanted = wanted
    self.longest = longest
    self.rank = rank
    self.workers = workers
    self.hasLogits = hasLogits
    self.hasDropout = hasDropout
  }

  /// The same plan with as many kept layers as `bytes` hold; nil if they do not even hold it without any.
  package func fitted(to bytes: Int) -> PassPlan? {
    var plan = self
    plan.keptLayers = 0
    guard plan.bytes <= bytes else { return nil }
    let layer = (LayerActivations.count(trunk.configuration, rows: rows, rank: rank) + 16) * 4
    plan.keptLayers = min(trunk.configuration.layerCount, (bytes - plan.bytes) / layer)
    return plan
  }

  package var hiddenSize: Int { trunk.configuration.hiddenSize }

  /// Bytes that a pass takes.
  package var bytes: Int { floats * 4 }

  var logitRows: Int {
    hasLogits ? max(1, min(wanted, Self.logitBytes / (4 * trunk.outputSize))) : 0
  }

  var widestInput: Int {
    let c = trunk.configuration
    return max(c.hiddenSize, c.querySize, c.feedForwardSize)
  }

  /// The longest sequence in whole panels.
  var paddedLongest: Int {
    let panel = Int(CIVG_PANEL_COLUMNS)
    return (longest + panel - 1) / panel * panel
  }

  /// Floats of scratch for each worker: unpacked weights; or transposed keys and values with the scores of
  /// some queries and their derivatives; or what products with low-rank matrices need.
  var scratchCount: Int {
    let attention = (2 * trunk.configuration.headSize + 2 * PassBuffers.queryRows) * paddedLongest
    let narrow = Kernels.current.scratchBytes(rows: 64, columns: widestInput) / 4 + 16
    return (max(FrozenProduct.scratchCount, attention, narrow) + 15) / 16 * 16
  }

  var floats: Int {
    let c = trunk.configuration
    let perRow =
      (c.layerCount + 1 + 4) * c.hiddenSize + 2 * c.querySize + 2 * c.keyValueSize
      + 3 * c.feedForwardSize + 3 * rank + (hasDropout ? widestInput : 0)
    return rows * perRow + 2 * wanted * c.hiddenSize + logitRows * trunk.outputSize
      + 2 * longest * c.rotaryPairs + workers * scratchCount
      + (keptLayers + 1) * (LayerActivations.count(c, rows: rows, rank: rank) + 16) + 32 * 16
  }
}
