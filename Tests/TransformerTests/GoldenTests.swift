import Foundation
import Tensor
import TestSupport
import Testing
import Transformer

/// What llama.cpp computes on SmolLM2-135M-Instruct: `../shared/golden/*.json`.
struct Golden: Decodable {
  struct Prompt: Decodable {
    let text: String?
    let prompt_ids: [Int32]
    let gen_ids: [Int32]
    let top10: [[Double]]?  // id, logit
    let top1_gap_per_step: [Double]
  }
  let model: String
  let prompts: [Prompt]

  private static let root = {
    let tests = Fixtures.folder[..<Fixtures.folder.lastIndex(of: "/")!]
    return String(tests[..<tests.lastIndex(of: "/")!])
  }()

  /// nil, and a word on standard output, if the file is not there.
  static func read(_ name: String) throws -> Golden? {
    let path = "\(root)/../shared/golden/\(name).json"
    guard let data = FileManager.default.contents(atPath: path) else {
      print("skipped: no \(path)")
      return nil
    }
    return try JSONDecoder().decode(Golden.self, from: data)
  }
}

/// A real model against llama.cpp.
@Suite(.serialized) struct GoldenTests {
  /// One file's figures. Greedy tokens must be llama.cpp's up to the first step whose top-1 gap is
  /// below `gap`; the mean over prompts of the largest difference in a top-10 logit to the F16
  /// reference must be within `mean`, the largest of all within `largest`.
  struct Bounds: CustomTestStringConvertible, Sendable {
    let file: String
    let golden: String
    let gap: Double
    let mean: Double
    var largest = Double.infinity
    var testDescription: String { file }
  }

  @Test(arguments: [
    Bounds(file: "F16", golden: "f16", gap: 0.05, mean: 0.05, largest: 0.05),
    Bounds(file: "Q4_1", golden: "q4_1", gap: 0.15, mean: 0.2),
    Bounds(file: "Q8_0", golden: "q8_0", gap: 0.15, mean: 0.38),
  ])
  func golden(_ bounds: Bounds) throws {
    guard let golden = try Golden.read(bounds.golden), let exact = try Golden.read("f16"),
      let path = Models.path(bounds.file)
    else { return }
    let rig = try Rig(path, threads: 2, context: 256, pages: 32, rows: 1)
    var differences: [Double] = []
    for (number, prompt) in golden.prompts.enumerated() {
      let sequence = rig.engine.makeSequence()
      defer { rig.engine.removeSequence(sequence) }
      for token in prompt.prompt_ids { try rig.engine.append(token, to: sequence) }
      _ = rig.engine.wantLogits()
      try rig.engine.run(cancel: rig.cancel)
      let logits = rig.row(0)
      differences.append(
        exact.prompts[number].top10!.map { abs(Double(logits[Int($0[0])]) - $0[1]) }.max()!)
      let sure = prompt.top1_gap_per_step.firstIndex { $0 < bounds.gap } ?? prompt.gen_ids.count
      var made: [Int32] = []
      while made.count < sure {
        made.append(Int32(Kernels.current.table.pointee.argmax(rig.row(0), rig.trunk.outputSize)))
        try rig.engine.append(made.last!, to: sequence)
        _ = rig.engine.wantLogits()
        try rig.engine.run(cancel: rig.cancel)
      }
      #expect(made == Array(prompt.gen_ids.prefix(sure)), "prompt \(number)")
    }
    let mean = differences.reduce(0, +) / Double(differences.count)
    print("\(bounds.file): distance to F16 by prompt \(differences), mean \(mean)")
    #expect(mean <= bounds.mean)
    #expect(differences.allSatisfy { $0 <= bounds.largest })
  }

  /// Other families, recorded by `make_greedy.py`: the same ids for the prompts, and along llama.cpp's own path the same
  /// most probable token wherever it is ahead by more than what llama.cpp's rounding of activations moves.
  @Test(arguments: [
    "gemma-3-270m-q4_k_m", "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M",
    "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M",
  ])
  func greedy(_ name: String) throws {
    guard let path = Models.path(file: name + ".gguf") else { return }
    let record = try JSONDecoder().decode(
      Golden.self,
      from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path("greedy/\(name).json"))))
    let tokenizer = try Model(path: path).tokenizer
    let rig = try Rig(path, threads: 2, context: 256, pages: 32, rows: 64)
    var sure = 0
    for prompt in record.prompts {
      #expect(
        try tokenizer.encode(
          Array(prompt.text!.utf8), parseSpecial: true, addBegin: tokenizer.addsBeginToken)
          == prompt.prompt_ids)
      let sequence = rig.engine.makeSequence()
      defer { rig.engine.removeSequence(sequence) }
      for token in prompt.prompt_ids.dropLast() { try rig.engine.append(token, to: sequence) }
      var rows: [Int] = []
      for token in [prompt.prompt_ids.last!] + prompt.gen_ids.dropLast() {
        try rig.engine.append(token, to: sequence)
        rows.append(rig.engine.wantLogits())
      }
      try rig.engine.run(cancel: rig.cancel)
      for (step, row) in rows.enumerated() where prompt.top1_gap_per_step[step] > 0.4 {
        let best = Kernels.current.table.pointee.argmax(
          rig.engine.logits(row: row), rig.trunk.outputSize)
        #expect(Int32(best) == prompt.gen_ids[step], "\(prompt.text!), step \(step)")
        sure += 1
      }
    }
    #expect(sure > record.prompts.count * 24)
  }

  /// What rounding activations costs: the F16 file holds the numbers of the Q4_1 file, and its products round
  /// nothing. Mean KL divergence of the next-token distributions behind all golden tokens.
  @Test func roundingOfActivations() throws {
    guard let golden = try Golden.read("q4_1"), let exact = Models.path("F16"),
      let rounded = Models.path("Q4_1")
    else { return }
    let rigs = try [exact, rounded].map {
      try Rig($0, threads: 2, context: 256, pages: 32, rows: 200)
    }
    var divergences: [Double] = []
    for prompt in golden.prompts {
      let tokens = prompt.prompt_ids + prompt.gen_ids
      let rows = try rigs.map { rig in
        let sequence = rig.engine.makeSequence()
        defer { rig.engine.removeSequence(sequence) }
        return try rig.feed(tokens, to: sequence)
      }
      divergences += zip(rows[0], rows[1]).map(Self.divergence)
    }
    let mean = divergences.reduce(0, +) / Double(divergences.count)
    print("Q4_1: KL divergence by rounded activations \(mean) over \(divergences.count) positions")
    #expect(divergences.count > 100)
    #expect(mean < 0.0005)
  }

  /// Σ p (log p − log q) of the softmaxes of two rows of logits.
  private static func divergence(_ p: [Float], _ q: [Float]) -> Double {
    let sums = [p, q].map { row in
      row.withUnsafeBufferPointer {
        Kernels.current.table.pointee.log_sum_exp($0.baseAddress!, $0.count)
      }
    }
    return zip(p, q).reduce(0) { sum, pair in
      let logs = (Double(pair.0) - sums[0], Double(pair.1) - sums[1])
      return sum + exp(logs.0) * (logs.0 - logs.1)
    }
  }
}
