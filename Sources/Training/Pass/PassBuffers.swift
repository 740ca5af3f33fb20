import CIVGKernels
import Glibc
import Tensor
import Transformer

/// What one layer computed for a batch, as its backward pass needs it again.
struct LayerActivations {
  let query: UnsafeMutablePointer<Float>  // [rows, heads × head size] rotated
  let key: UnsafeMutablePointer<Float>  // [rows, kv heads × head size] rotated
  let value: UnsafeMutablePointer<Float>  // [rows, kv heads × head size]
  let attended: UnsafeMutablePointer<Float>  // [rows, heads × head size]
  let middle: UnsafeMutablePointer<Float>  // [rows, hidden] after the attention sublayer
  let gate: UnsafeMutablePointer<Float>  // [rows, feed-forward] before the activation
  let up: UnsafeMutablePointer<Float>  // [rows, feed-forward]
  let narrow: UnsafeMutablePointer<Float>  // [7][rows, rank] scale · A x

  /// Floats of one.
  static func count(_ c: ModelConfiguration, rows: Int, rank: Int) -> Int {
    rows
      * (2 * c.querySize + 2 * c.keyValueSize + c.hiddenSize + 2 * c.feedForwardSize + 7 * rank)
      + 8 * 16
  }

  init(_ c: ModelConfiguration, rows: Int, rank: Int, at memory: UnsafeMutablePointer<Float>) {
    var next = memory
    func take(_ width: Int) -> UnsafeMutablePointer<Float> {
      defer { next += (rows * width + 15) / 16 * 16 }
      return next
    }
    query = take(c.querySize)
    key = take(c.keyValueSize)
    value = take(c.keyValueSize)
    attended = take(c.querySize)
    middle = take(c.hiddenSize)
    gate = take(c.feedForwardSize)
    up = take(c.feedForwardSize)
    narrow = take(7 * rank)
  }
}

/// Everything that a training pass writes, taken once.
final class PassBuffers {
  /// Rows of logits that are in memory at a time.
  let logitRows: Int
  let inputs: UnsafeMutablePointer<Float>  // [layers + 1][rows, hidden] the residual stream before each layer
  let normalized: UnsafeMutablePointer<Float>  // [rows, hidden]
  let gated: UnsafeMutablePointer<Float>  // [rows, feed-forward]
  let dropped: UnsafeMutablePointer<Float>  // [rows, widest input], with dropout only
  let finals: UnsafeMutablePointer<Float>  // [wanted, hidden] after the last norm
  let directions: UnsafeMutablePointer<Float>  // [wanted, hidden] derivatives by `finals`
  let logits: UnsafeMutablePointer<Float>  // [logitRows, output size]
  let dHidden: UnsafeMutablePointer<Float>  // [rows, hidden]
  let dNormalized: UnsafeMutablePointer<Float>  // [rows, hidden]
  let dQuery: UnsafeMutablePointer<Float>  // [rows, heads × head size]
  let dKey: UnsafeMutablePointer<Float>  // [rows, kv heads × head size]
  let dValue: UnsafeMutablePointer<Float>  // [rows, kv heads × head size]
  let dAttended: UnsafeMutablePointer<Float>  // [rows, heads × head size]
  let dGate: UnsafeMutablePointer<Float>  // [rows, feed-forward]
  let dUp: UnsafeMutablePointer<Float>  // [rows, feed-forward]
  let dNarrow: UnsafeMutablePointer<Float>  // [3][rows, rank]
  let cosine: UnsafeMutablePointer<Float>  // [longest sequence, pairs]
  let sine: UnsafeMutablePointer<Float>  // [longest sequence, pairs]
  private let scratch: UnsafeMutablePointer<Float>  // [workers, scratchCount]
  private let scratchCount: Int
  private let activations: [LayerActivations]  // one for each kept layer, and one for all others
  private let keptFrom: Int
  private let arena: AlignedBuffer<Float>

  /// Rows of queries whose scores a worker forms at a time.
  static let queryRows = 64

  /// Throws `.outOfMemory`.
  init(_ plan: PassPlan) throws(IVGError) {
    let c = plan.trunk.configuration
    arena = try AlignedBuffer(count: plan.floats)
    var next = arena.pointer
    let end = next + arena.count
    func take(_ count: Int) -> UnsafeMutablePointer<Float> {
      defer { next += (count + 15) / 16 * 16 }
      precondition(next + count <= end, "the plan was for less")
      return next
    }
    let rows = plan.rows
    let hidden = rows * c.hiddenSize
    logitRows = plan.logitRows
    inputs = take((c.layerCount + 1) * hidden)
    normalized = take(hidden)
    gated = take(rows * c.feedForwardSize)
    dropped = take(plan.hasDropout ? rows * plan.widestInput : 0)
    finals = take(plan.wanted * c.hiddenSize)
    directions = take(plan.wanted * c.hiddenSize)
    logits = take(plan.logitRows * plan.trunk.outputSize)
    dHidden = take(hidden)
    dNormalized = take(hidden)
    dQuery = take(rows * c.querySize)
    dKey = take(rows * c.keyValueSize)
    dValue = take(rows * c.keyValueSize)
    dAttended = take(rows * c.querySize)
    dGate = take(rows * c.feedForwardSize)
    dUp = take(rows * c.feedForwardSize)
    dNarrow = take(3 * rows * plan.rank)
    cosine = take(plan.longest * c.rotaryPairs)
    sine = take(plan.longest * c.rotaryPairs)
    scratchCount = plan.scratchCount
    scratch = take(plan.workers * plan.scratchCount)
    keptFrom = c.layerCount - plan.keptLayers
    activations = (0...plan.keptLayers).map { _ in
      LayerActivations(
        c, rows: rows, rank: plan.rank,
        at: take(LayerActivations.count(c, rows: rows, rank: plan.rank)))
    }
    prepareRotation(plan.trunk, longest: plan.longest)
  }

  private func prepareRotation(_ trunk: Trunk, longest: Int) {
    let pairs = trunk.configuration.rotaryPairs
    let magnitude = trunk.configuration.rotaries[0].magnitude
    for pair in 0..<pairs {
      let frequency = trunk.rotationFrequency(pair, isLong: false)
      for position in 0..<longest {
        cosine[position * pairs + pair] = Float(cos(Double(position) * frequency) * magnitude)
        sine[position * pairs + pair] = Float(sin(Double(position) * frequency) * magnitude)
      }
    }
  }

  /// Whether layer `index` keeps what it computed until its backward pass.
  func keeps(_ index: Int) -> Bool { index >= keptFrom }

  func activations(_ layer: Int) -> LayerActivations {
    keeps(layer) ? activations[layer - keptFrom] : activations[activations.count - 1]
  }

  func scratch(_ worker: Int) -> UnsafeMutablePointer<Float> { scratch + worker * scratchCount }
}
