import Tensor
import TestSupport
import Testing
import Transformer

/// A model with an engine of its own, and short ways to run tokens through it.
final class Rig {
  let trunk: Trunk
  let engine: Engine
  let cancel = CancelFlag()
  private let model: Model
  /// Runs `fresh`: pages of `engine` never hold, by luck, what an earlier run left in them.
  private let other: Engine

  /// `name` is a fixture, or a path if it begins with a slash.
  init(
    _ name: String = "tiny-llama.gguf", threads: Int = 1, context: Int = 256, pages: Int = 64,
    rows: Int = 200
  ) throws {
    model = try Model(path: name.hasPrefix("/") ? name : Fixtures.path(name))
    trunk = model.trunk!
    engine = try Engine(
      trunk: trunk, team: ThreadTeam(threadCount: threads), contextLength: context,
      pageLimit: pages)
    other = try Engine(
      trunk: trunk, team: ThreadTeam(threadCount: threads), contextLength: context,
      pageLimit: (context + 15) / 16)
    for engine in [engine, other] { try engine.reserve(logitRows: rows, results: 2 * rows) }
  }

  func adapter(_ name: String = "tiny-adapter.gguf") throws -> Adapter {
    try Adapter(path: Fixtures.path(name), trunk: trunk)
  }

  func head(_ name: String) throws -> ValueHead {
    try ValueHead(path: Fixtures.path(name), trunk: trunk)
  }

  /// Row `row` of the last batch, copied; `count` where a head is narrower than the vocabulary.
  func row(_ row: Int, count: Int? = nil) -> [Float] { Self.row(row, of: engine, count) }

  private static func row(_ row: Int, of engine: Engine, _ count: Int?) -> [Float] {
    Array(
      UnsafeBufferPointer(start: engine.logits(row: row), count: count ?? engine.trunk.outputSize))
  }

  /// Appends tokens, in batches of the given sizes in turn, and returns the logits after each.
  func feed(_ tokens: [Int32], to sequence: SequenceID) throws -> [[Float]] {
    try feed(tokens, to: sequence, of: engine, batches: [.max])
  }

  private func feed(_ tokens: [Int32], to sequence: SequenceID, of engine: Engine, batches: [Int])
    throws -> [[Float]]
  {
    var result: [[Float]] = []
    var rest = tokens[...]
    var turn = 0
    while !rest.isEmpty {
      let batch = rest.prefix(batches[turn % batches.count])
      rest = rest.dropFirst(batch.count)
      turn += 1
      var rows: [Int] = []
      for token in batch {
        try engine.append(token, to: sequence)
        rows.append(engine.wantLogits())
      }
      try engine.run(cancel: cancel)
      result += rows.map { Self.row($0, of: engine, nil) }
    }
    return result
  }

  /// The logits after each token in a sequence of another engine, which lives only for this call.
  func fresh(
    _ tokens: [Int32], adapter: Adapter? = nil, longest: Int? = nil, batches: [Int] = [.max]
  ) throws -> [[Float]] {
    let sequence = other.makeSequence(adapter: adapter, longest: longest)
    defer { other.removeSequence(sequence) }
    return try feed(tokens, to: sequence, of: other, batches: batches)
  }
}

/// Reproducible tokens of the tiny vocabulary.
func tokens(_ count: Int, seed: UInt64) -> [Int32] {
  var random = RandomNumbers(seed: seed)
  return (0..<count).map { _ in Int32.random(in: 3..<300, using: &random) }
}

/// The bits of every number: what "the same" means in these tests. Short to print.
struct Bits: Equatable, CustomTestStringConvertible {
  private let rows: [[UInt32]]
  init(_ rows: some Sequence<[Float]>) { self.rows = rows.map { $0.map(\.bitPattern) } }
  var testDescription: String { "\(rows.count) rows, hash \(rows.hashValue)" }
}

func bits(_ rows: some Sequence<[Float]>) -> Bits { Bits(rows) }
func bits(_ row: [Float]) -> Bits { Bits([row]) }

/// The largest difference between two rows.
func distance(_ a: [Float], _ b: [Float]) -> Float {
  precondition(a.count == b.count)
  return zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
}

/// What a call throws.
func failure(_ body: () throws -> Void) -> IVGError? {
  do { try body() } catch { return error as? IVGError }
  return nil
}
