import CIVGKernels
import Glibc
import Tensor

/// Everything a forward pass writes beside keys and values, taken once.
final class ForwardBuffers {
  /// Rows whose logits are computed together only to be reduced to a log-probability.
  static let outputRows = 16

  let hidden: UnsafeMutablePointer<Float>  // [rows, hidden] the residual stream
  let normalized: RowBuffer  // [rows, hidden]
  let query: UnsafeMutablePointer<Float>  // [rows, heads × head size]
  let key: UnsafeMutablePointer<Float>  // [rows, kv heads × head size]
  let value: UnsafeMutablePointer<Float>  // [rows, kv heads × head size]
  let attended: RowBuffer  // [rows, heads × head size]
  /// What a sublayer gives: hidden itself, or a buffer of its own where it is normalised first.
  let output: UnsafeMutablePointer<Float>  // [rows, hidden]
  let gated: RowBuffer  // [passages, feed-forward]
  let up: UnsafeMutablePointer<Float>  // [passages, feed-forward]
  /// nil where the model has no experts.
  let experts: ExpertBuffers?
  private let cosine: UnsafeMutablePointer<Float>  // [rotaries, rows, pairs]
  private let sine: UnsafeMutablePointer<Float>  // [rotaries, rows, pairs]
  let outputLogits: UnsafeMutablePointer<Float>  // [outputRows, output size]
  private let frequencies: UnsafeMutablePointer<Double>  // [short or long, rotaries, pairs]
  private let workerScores: UnsafeMutablePointer<Float>  // [workers, scoresPerWorker]
  private let workerAttending: UnsafeMutablePointer<civg_attending>  // [workers, attentionRows]
  private let workerScratch: UnsafeMutablePointer<UInt8>  // [workers, scratchPerWorker]
  /// Rows whose attention is computed together at most.
  let attentionRows: Int
  private let scoresPerWorker: Int
  private let scratchPerWorker: Int
  private let arena: AlignedBuffer<UInt8>
  private let rows: Int
  private let isGated: Bool
  private var innerBuffer: AlignedBuffer<Float>  // [3, rows, innerWidth]
  /// Width of the low-rank products: the largest rank so far.
  private(set) var innerWidth = 0

  /// Throws `.outOfMemory`.
  init(trunk: Trunk, rows: Int, workerCount: Int, contextLength: Int) throws(IVGError) {
    let c = trunk.configuration
    self.rows = rows
    isGated = c.architecture.isGated
    attentionRows = Self.attentionRows(c)
    scoresPerWorker = Self.scores(c, contextLength)
    scratchPerWorker = Self.scratch(c, rows)
    arena = try AlignedBuffer(
      count: Self.bytes(
        trunk: trunk, rows: rows, workerCount: workerCount, contextLength: contextLength))
    var pieces = Arena(arena)
    hidden = pieces.take(Float.self, count: rows * c.hiddenSize)
    normalized = RowBuffer(width: c.hiddenSize, rows: rows, arena: &pieces)
    query = pieces.take(Float.self, count: rows * c.querySize)
    key = pieces.take(Float.self, count: rows * c.keyValueSize)
    value = pieces.take(Float.self, count: rows * c.keyValueSize)
    attended = RowBuffer(width: c.querySize, rows: rows, arena: &pieces)
    let isApart = c.architecture.normalizesOutput
    output = isApart ? pieces.take(Float.self, count: rows * c.hiddenSize) : hidden
    let passages = Self.passages(c, rows)
    gated = RowBuffer(width: c.feedForwardSize, rows: passages, arena: &pieces)
    up = pieces.take(Float.self, count: passages * c.feedForwardSize)
    experts = c.expertCount == 0 ? nil : ExpertBuffers(c, rows: rows, arena: &pieces)
    let angles = c.rotaries.count * c.rotaryPairs
    cosine = pieces.take(Float.self, count: rows * angles)
    sine = pieces.take(Float.self, count: rows * angles)
    outputLogits = pieces.take(Float.self, count: Self.outputRows * trunk.outputSize)
    frequencies = pieces.take(Double.self, count: 2 * angles)
    workerScores = pieces.take(Float.self, count: workerCount * scoresPerWorker)
    workerAttending = pieces.take(civg_attending.self, count: workerCount * attentionRows)
    workerScratch = pieces.take(UInt8.self, count: workerCount * scratchPerWorker)
    innerBuffer = try AlignedBuffer(count: 0)
    for index in 0..<2 * angles {
      frequencies[index] = trunk.rotationFrequency(
        index % c.rotaryPairs, rotary: index % angles / c.rotaryPairs, isLong: index >= angles)
    }
  }

  /// Rows of a feed-forward layer: with experts, each row passes several.
  private static func passages(_ c: ModelConfiguration, _ rows: Int) -> Int {
    rows * max(c.usedExpertCount, 1)
  }

  /// An upper bound on what `init` takes.
  static func bytes(trunk: Trunk, rows: Int, workerCount: Int, contextLength: Int) -> Int {
    let c = trunk.configuration
    let angles = c.rotaries.count * c.rotaryPairs
    let passages = passages(c, rows)
    let floats =
      rows * (2 * c.hiddenSize + c.querySize + 2 * c.keyValueSize) + passages * c.feedForwardSize
      + rows * 2 * angles + outputRows * trunk.outputSize + 4 * angles
      + workerCount * scores(c, contextLength)
    let buffers =
      rows * (RowBuffer.bytes(width: c.hiddenSize) + RowBuffer.bytes(width: c.querySize))
      + passages * RowBuffer.bytes(width: c.feedForwardSize)
      + (c.expertCount == 0 ? 0 : ExpertBuffers.bytes(c, rows: rows))
    let worker = scratch(c, rows) + attentionRows(c) * MemoryLayout<civg_attending>.stride
    return floats * 4 + buffers + workerCount * worker + 64 * 48
  }

  /// About three times the queries that a kernel takes at a time.
  private static func attentionRows(_ c: ModelConfiguration) -> Int { max(1, 24 / c.headGroup) }

  private static func scores(_ c: ModelConfiguration, _ contextLength: Int) -> Int {
    attentionRows(c) * c.headGroup * ((contextLength + 15) / 16 * 16) + 16
  }

  private static func scratch(_ c: ModelConfiguration, _ rows: Int) -> Int {
    let columns = max(c.hiddenSize, c.querySize, c.feedForwardSize)
    return (Kernels.current.scratchBytes(rows: rows, columns: columns) + 63) / 64 * 64
  }

  func scores(_ worker: Int) -> UnsafeMutablePointer<Float> {
    workerScores + (worker * scoresPerWorker + 15) / 16 * 16
  }

  func attending(_ worker: Int) -> UnsafeMutablePointer<civg_attending> {
    workerAttending + worker * attentionRows
  }

  func matmulScratch(_ worker: Int) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(workerScratch + worker * scratchPerWorker)
  }

  /// Where the projection's product goes.
  func target(_ projection: Projection) -> UnsafeMutablePointer<Float> {
    switch projection {
    case .query: query
    case .key: key
    case .value: value
    case .gate: gated.values
    case .up: isGated ? up : gated.values
    case .attentionOutput, .down: output
    }
  }

  /// The inner products A x of the projection at place `slot` among those of one input.
  func inner(_ slot: Int) -> UnsafeMutablePointer<Float> {
    innerBuffer.pointer + slot * rows * innerWidth
  }

  /// Makes room for inner products of `rank`. Allocates only when a larger rank than ever comes.
  /// Throws `.outOfMemory`.
  func prepareRank(_ rank: Int) throws(IVGError) {
    guard rank > innerWidth else { return }
    let width = (rank + 15) / 16 * 16
    innerBuffer = try AlignedBuffer(count: 3 * rows * width)
    innerWidth = width
  }

  /// Cosine and sine of every row's rotation: position × frequency, for each rotary.
  func prepareRotation(trunk: Trunk, entries: UnsafePointer<Entry>, count: Int) {
    let pairs = trunk.configuration.rotaryPairs
    for (index, rotary) in trunk.configuration.rotaries.enumerated() {
      for row in 0..<count {
        let (cosine, sine) = rotation(row, rotary: index, pairs: pairs)
        let entry = entries[row]
        if row > 0, entry.position == entries[row - 1].position,
          entry.isLong == entries[row - 1].isLong
        {
          memcpy(cosine, cosine - pairs, pairs * 4)
          memcpy(sine, sine - pairs, pairs * 4)
          continue
        }
        let first = (entry.isLong ? trunk.configuration.rotaries.count + index : index) * pairs
        for pair in 0..<pairs {
          let angle = Double(entry.position) * frequencies[first + pair]
          cosine[pair] = Float(cos(angle) * rotary.magnitude)
          sine[pair] = Float(sin(angle) * rotary.magnitude)
        }
      }
    }
  }

  /// The rotation of row `row` in layers that use rotary `index`: each [pairs].
  func rotation(_ row: Int, rotary index: Int, pairs: Int)
    -> (cosine: UnsafeMutablePointer<Float>, sine: UnsafeMutablePointer<Float>)
  {
    let offset = (index * rows + row) * pairs
    return (cosine + offset, sine + offset)
  }
}
