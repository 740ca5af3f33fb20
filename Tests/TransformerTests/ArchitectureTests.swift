import Foundation
import Tensor
import TestSupport
import Testing
import Transformer

/// Every architecture against `transformers`: `Fixtures/architectures`, converted from tiny random checkpoints.
@Suite struct ArchitectureTests {
  struct Result: Decodable {
    let prompt: Int
    let first_position: Int
    let logits: [[Float]]
    let hidden: [Float]?
  }
  struct Entry: Decodable, CustomTestStringConvertible, Sendable {
    let file: String
    let results: [Result]
    var testDescription: String { file }
  }
  struct Expected: Decodable {
    let prompts: [[Int32]]
    let models: [Entry]
  }
  static let expected = try! JSONDecoder().decode(
    Expected.self,
    from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("architectures/expected.json"))))

  /// The largest difference, relative to the largest logit.
  private func relative(_ row: [Float], _ expected: [Float]) -> Float {
    distance(row, expected) / expected.reduce(0) { max($0, abs($1)) }
  }

  private func rig(_ entry: Entry, threads: Int = 1) throws -> Rig {
    try Rig("architectures/" + entry.file, threads: threads, context: 64)
  }

  /// Prefill, token by token, and in uneven batches.
  @Test(arguments: Self.expected.models, [[Int.max], [1], [5, 2]])
  func logits(of entry: Entry, batches: [Int]) throws {
    let rig = try rig(entry)
    for result in entry.results {
      let prompt = Self.expected.prompts[result.prompt]
      let rows = try rig.fresh(prompt, longest: prompt.count, batches: batches)
      #expect(rows.count == result.first_position + result.logits.count)
      for (row, expected) in zip(rows.dropFirst(result.first_position), result.logits) {
        #expect(relative(row, expected) <= 2e-4)
      }
    }
  }

  /// All prompts in one batch, token about token, on two threads: the bits of each alone, and the final states.
  @Test(arguments: Self.expected.models)
  func rowsInOneBatch(of entry: Entry) throws {
    let rig = try rig(entry, threads: 2)
    let prompts = entry.results.map { Self.expected.prompts[$0.prompt] }
    let sequences = prompts.map { rig.engine.makeSequence(longest: $0.count) }
    var rows = prompts.map { _ in [Int]() }
    var hidden = prompts.map { _ in
      [Float](repeating: .nan, count: rig.trunk.configuration.hiddenSize)
    }
    for position in 0..<prompts.map(\.count).max()! {
      for (index, prompt) in prompts.enumerated() where position < prompt.count {
        try rig.engine.append(prompt[position], to: sequences[index])
        rows[index].append(rig.engine.wantLogits())
      }
    }
    try rig.engine.run(cancel: rig.cancel)
    for (index, prompt) in prompts.enumerated() {
      #expect(
        bits(rows[index].map { rig.row($0) }) == bits(try rig.fresh(prompt, longest: prompt.count)))
    }
    for (index, result) in entry.results.enumerated() {
      guard let expected = result.hidden else { continue }
      let sequence = rig.engine.makeSequence(longest: prompts[index].count)
      for token in prompts[index] { try rig.engine.append(token, to: sequence) }
      try hidden[index].withUnsafeMutableBufferPointer {
        rig.engine.wantHidden($0.baseAddress!)
        try rig.engine.run(cancel: rig.cancel)
      }
      #expect(relative(hidden[index], expected) <= 2e-4)
    }
  }

  /// Log-probabilities are those of the logits, bounded or not.
  @Test(arguments: Self.expected.models)
  func logProbabilities(of entry: Entry) throws {
    let rig = try rig(entry)
    let sequence = rig.engine.makeSequence()
    var (row, slot) = (0, 0)
    for token in Self.expected.prompts[0] {
      try rig.engine.append(token, to: sequence)
      row = rig.engine.wantLogits()
      slot = rig.engine.wantLogProbability(of: 7)
    }
    try rig.engine.run(cancel: rig.cancel)
    let logits = rig.row(row)
    let total = logits.withUnsafeBufferPointer {
      Kernels.current.table.pointee.log_sum_exp($0.baseAddress!, $0.count)
    }
    #expect(rig.engine.result(slot) == Double(logits[7]) - total)
  }
}
