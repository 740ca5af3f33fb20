import Foundation
import GGUF
import Tensor
import TestSupport
import Testing
import Transformer

/// `expected.json`: what `transformers` computes from the fixtures.
struct Expected: Decodable {
  struct ModelResult: Decodable {
    let prompt: Int
    let first_position: Int
    let logits: [[Float]]
    let hidden: [Float]
  }
  struct HeadResult: Decodable {
    let prompt: Int
    let first_position: Int
    let values: [[Float]]
  }
  struct ModelEntry: Decodable, CustomTestStringConvertible {
    let file: String
    let adapter: String?
    let results: [ModelResult]
    var testDescription: String { file + (adapter.map { " with \($0)" } ?? "") }
  }
  struct HeadEntry: Decodable, CustomTestStringConvertible {
    let file: String
    let trunk: String
    let results: [HeadResult]
    var testDescription: String { file }
  }

  let prompts: [[Int32]]
  let models: [ModelEntry]
  let heads: [HeadEntry]

  static let all = try! JSONDecoder().decode(
    Expected.self, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("expected.json"))))
}

/// The engine against `transformers`.
@Suite struct ReferenceTests {
  /// Largest difference to float arithmetic in a logit of up to 12. Files of floats alone are computed in floats; else
  /// keys and values are half floats, and inputs of quantised weights are rounded. That nothing else differs is what
  /// `twin` shows, with its own narrow bounds.
  private func tolerance(_ file: String) -> Float {
    if file.contains("-q4_0") || file.contains("-q8_0") { return 0.3 }
    return isSingle(file) ? 5e-4 : 6e-3
  }

  private func isSingle(_ file: String) -> Bool {
    try! GGUFFile(path: Fixtures.path(file)).tensors.allSatisfy { $0.type == .f32 }
  }

  /// The twin without roundings is `transformers`; with half-float keys and values and rounded inputs it is the
  /// engine.
  @Test(arguments: Expected.all.models)
  func twin(of entry: Expected.ModelEntry) throws {
    let rig = try Rig(entry.file)
    let exact = try SlowTwin(
      entry.file, adapter: entry.adapter, halfCache: false, roundedInputs: false)
    let rounding = try SlowTwin(
      entry.file, adapter: entry.adapter, halfCache: !isSingle(entry.file), roundedInputs: true)
    for result in entry.results {
      let prompt = Expected.all.prompts[result.prompt]
      for (row, expected) in zip(
        try exact.logits(prompt).dropFirst(result.first_position), result.logits)
      {
        #expect(distance(row, expected) <= 1e-4)
      }
      let adapter = try entry.adapter.map { try rig.adapter($0) }
      // Now and then the two round an activation to different sides; all later rows attend to that one.
      let rows = zip(try rig.fresh(prompt, adapter: adapter), try rounding.logits(prompt))
      let same = rows.prefix { distance($0, $1) <= 2e-4 * $1.reduce(1) { max($0, abs($1)) } }
      #expect(same.count >= min(prompt.count, 9))
    }
  }

  @Test(arguments: Expected.all.models, [[Int.max], [1], [5, 2]])
  func logits(of entry: Expected.ModelEntry, batches: [Int]) throws {
    let rig = try Rig(entry.file)
    let adapter = try entry.adapter.map { try rig.adapter($0) }
    for result in entry.results {
      let prompt = Expected.all.prompts[result.prompt]
      let rows = try rig.fresh(prompt, adapter: adapter, batches: batches)
      #expect(rows.count == result.first_position + result.logits.count)
      for (row, expected) in zip(rows.dropFirst(result.first_position), result.logits) {
        #expect(distance(row, expected) <= tolerance(entry.file))
      }
    }
  }

  @Test(arguments: Expected.all.models)
  func hidden(of entry: Expected.ModelEntry) throws {
    let rig = try Rig(entry.file)
    let adapter = try entry.adapter.map { try rig.adapter($0) }
    for result in entry.results {
      let sequence = rig.engine.makeSequence(adapter: adapter)
      for token in Expected.all.prompts[result.prompt] {
        try rig.engine.append(token, to: sequence)
      }
      var hidden = [Float](repeating: .nan, count: result.hidden.count)
      try hidden.withUnsafeMutableBufferPointer { buffer in
        rig.engine.wantHidden(buffer.baseAddress!)
        try rig.engine.run(cancel: rig.cancel)
      }
      rig.engine.removeSequence(sequence)
      #expect(distance(hidden, result.hidden) <= tolerance(entry.file))
    }
  }

  /// Head vectors and single values; the single value is the entry of the vector, bit for bit.
  @Test(arguments: Expected.all.heads)
  func values(of entry: Expected.HeadEntry) throws {
    let rig = try Rig(entry.trunk)
    let head = try rig.head(entry.file)
    let id = rig.engine.register(head)
    for result in entry.results {
      let prompt = Expected.all.prompts[result.prompt]
      let sequence = rig.engine.makeSequence(adapter: head.adapter)
      var vectors: [Int] = []
      var values: [[Int]] = []
      let candidates: [Int32] = head.kind == .scalar ? [0] : [0, 17, 319]
      for (position, token) in prompt.enumerated() {
        try rig.engine.append(token, to: sequence)
        guard position >= result.first_position else { continue }
        vectors.append(rig.engine.wantHeadVector(id))
        values.append(candidates.map { rig.engine.wantHeadValue(id, token: $0) })
      }
      try rig.engine.run(cancel: rig.cancel)
      for (index, expected) in result.values.enumerated() {
        let row = rig.row(vectors[index], count: head.outputSize)
        #expect(distance(row, expected) <= tolerance(entry.trunk))
        for (candidate, slot) in zip(candidates, values[index]) {
          #expect(rig.engine.result(slot) == Double(row[Int(candidate)]))
        }
      }
      rig.engine.removeSequence(sequence)
    }
  }

  /// A vocabulary head beside the logits of another adapter, in one batch.
  @Test func headsAndLogitsInOneBatch() throws {
    let rig = try Rig()
    let head = try rig.head("tiny-value-lora.gguf")
    let id = rig.engine.register(head)
    let plain = rig.engine.makeSequence()
    let guide = rig.engine.makeSequence(adapter: head.adapter)
    var logits = 0
    var values = 0
    for token in Expected.all.prompts[1] {
      try rig.engine.append(token, to: plain)
      logits = rig.engine.wantLogits()
      try rig.engine.append(token, to: guide)
      values = rig.engine.wantHeadVector(id)
    }
    try rig.engine.run(cancel: rig.cancel)
    let model = Expected.all.models.first { $0.file == "tiny-llama.gguf" && $0.adapter == nil }!
    let expected = Expected.all.heads.first { $0.file == "tiny-value-lora.gguf" }!
    #expect(distance(rig.row(logits), model.results[1].logits[0]) <= tolerance(model.file))
    #expect(distance(rig.row(values), expected.results[1].values[0]) <= tolerance(expected.trunk))
  }
}
