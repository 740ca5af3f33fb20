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
  let gated: RowBuffer  // [rows, feed-forward]
  let up: UnsafeMutablePointer<Float>  // [rows, feed-forward]
  let cosine: UnsafeMutablePointer<Float>  // [rows, pairs]
  let sine: UnsafeMutablePointer<Float>  // [rows, pairs]
  let outputLogits: UnsafeMutablePointer<Float>  // [outputRows, output size]
  private let frequencies: UnsafeMutablePointer<Double>  // [pairs]
  private let workerScores: UnsafeMutablePointer<Float>  // [workers, scoresPerWorker]
  private let workerAttending: UnsafeMutablePointer<civg_attending>  // [workers, attentionRows]
  private let workerScratch: UnsafeMutablePointer<UInt8>  // [workers, scratchPerWorker]
  /// Rows whose attention is computed together at most.
  let attentionRows: Int
  private let scoresPerWorker: Int
  private let scratchPerWorker: Int
  private let arena: AlignedBuffer<UInt8>
  private let rows: Int
  private var innerBuffer: AlignedBuffer<Float>  // [3, rows, innerWidth]
  /// Width of the low-rank products: the largest rank so far.
  private(set) var innerWidth = 0

  /// Throws `.outOfMemory`.
  init(trunk: Trunk, rows: Int, workerCount: Int, contextLength: Int) throws(IVGError) {
    let c = trunk.configuration
    self.rows = rows
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
    gated = RowBuffer(width: c.feedForwardSize, rows: rows, arena: &pieces)
    up = pieces.take(Float.self, count: rows * c.feedForwardSize)
    cosine = pieces.take(Float.self, count: rows * c.rotaryPairs)
    sine = pieces.take(Float.self, count: rows * c.rotaryPairs)
    outputLogits = pieces.take(Float.self, count: Self.outputRows * trunk.outputSize)
    frequencies = pieces.take(Double.self, count: c.rotaryPairs)
    workerScores = pieces.take(Float.self, count: workerCount * scoresPerWorker)
    workerAttending = pieces.take(civg_attending.self, count: workerCount * attentionRows)
    workerScratch = pieces.take(UInt8.self, count: workerCount * scratchPerWorker)
    innerBuffer = try AlignedBuffer(count: 0)
    for pair in 0..<c.rotaryPairs {
      frequencies[pair] = trunk.rotationFrequency(pair)
    }
  }

  /// An upper bound on what `init` takes.
  static func bytes(trunk: Trunk, rows: Int, workerCount: Int, contextLength: Int) -> Int {
    let c = trunk.configuration
    let floats =
      rows * (c.hiddenSize + c.querySize + 2 * c.keyValueSize + c.feedForwardSize)
      + rows * 2 * c.rotaryPairs + outputRows * trunk.outputSize + 2 * c.rotaryPairs
      + workerCount * scores(c, contextLength)
    let buffers =
      RowBuffer.bytes(width: c.hiddenSize) + RowBuffer.bytes(width: c.querySize)
      + RowBuffer.bytes(width: c.feedForwardSize)
    let worker = scratch(c, rows) + attentionRows(c) * MemoryLayout<civg_attending>.stride
    return floats * 4 + rows * buffers + workerCount * worker + 64 * 32
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

  /// Where the projection's product goes, for projections that share an input.
  func target(_ projection: Projection) -> UnsafeMutablePointer<Float> {
    switch projection {
    case .query: query
    case .key: key
    case .value: value
    case .gate: gated.values
    case .up: up
    case .attentionOutput, .down: hidden
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

  /// cosine, sine of every row's rotation: position × base^(-pair / pairs).
  func prepareRotation(trunk: Trunk, entries: UnsafePointer<Entry>, count: Int) {
    let pairs = trunk.configuration.rotaryPairs
    for row in 0..<count {
      if row > 0, entries[row].position == entries[row - 1].position {
        memcpy(cosine + row * pairs, cosine + (row - 1) * pairs, pairs * 4)
        memcpy(sine + row * pairs, sine + (row - 1) * pairs, pairs * 4)
        continue
      }
      for pair in 0..<pairs {
        let angle = Double(entries[row].position) * frequencies[pair]
        cosine[row * pairs + pair] = Float(cos(angle))
        sine[row * pairs + pair] = Float(sin(angle))
      }
    }
  }
}
