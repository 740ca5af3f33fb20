import GGUF
import Glibc
import Tensor
import TestSupport
import Testing
import Transformer

/// Files that are not what they should be: an error that names file and field, never a crash.
@Suite struct MalformedTests {
  /// A fixture, rewritten. Removed with the object.
  final class Variant {
    let path: String

    init(
      _ fixture: String, set values: [(String, GGUFWriterValue)] = [], without: [String] = [],
      rename: [String: String] = [:], replace: [String: (TensorType, [Int])] = [:], fill: UInt8 = 0
    ) throws {
      var template = temporaryTemplate("variant")
      close(mkstemp(&template))
      path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let file = try GGUFFile(path: Fixtures.path(fixture))
      var writer = GGUFWriter()
      writer.set(file.metadata)
      for (key, value) in values { writer.set(key, value) }
      for tensor in file.tensors where !without.contains(tensor.name) {
        let name = rename[tensor.name] ?? tensor.name
        if let (type, shape) = replace[tensor.name] {
          let bytes = shape.reduce(1, *) / type.blockElements * type.blockBytes
          writer.add(
            name, type: type, shape: shape, data: [UInt8](repeating: fill, count: bytes))
        } else {
          writer.add(name, type: tensor.type, shape: tensor.shape, data: Array(file.data(tensor)))
        }
      }
      try writer.write(to: path)
    }

    deinit { unlink(path) }
  }

  private func expect(
    _ kind: IVGError.Kind, _ path: String, _ words: [String],
    at location: SourceLocation = #_sourceLocation, _ body: () throws -> Void
  ) {
    let error = failure(body)
    #expect(error?.kind == kind, "\(error?.message ?? "no error")", sourceLocation: location)
    for word in [path] + words {
      #expect(
        error?.message.contains(word) == true, "\(word) in: \(error?.message ?? "no error")",
        sourceLocation: location)
    }
  }

  struct Metadata: CustomTestStringConvertible, Sendable {
    let key: String
    let value: GGUFWriterValue
    let kind: IVGError.Kind
    let words: [String]
    init(_ key: String, _ value: GGUFWriterValue, _ kind: IVGError.Kind, _ words: String...) {
      (self.key, self.value, self.kind, self.words) = (key, value, kind, words)
    }
    var testDescription: String { key }
  }

  @Test(arguments: [
    Metadata("general.architecture", .string("mamba"), .unsupported, "mamba", "llama, gpt2"),
    Metadata("llama.attention.head_count", .uint32(0), .corruptFile, "0"),
    Metadata("llama.attention.head_count_kv", .uint32(3), .corruptFile, "4", "3"),
    Metadata("llama.attention.head_count_kv", .uint32(0), .corruptFile, "0"),
    Metadata("llama.block_count", .uint32(.max), .corruptFile, "4294967295"),
    Metadata("llama.block_count", .uint32(3), .corruptFile, "blk.2."),
    Metadata("llama.embedding_length", .uint32(0), .corruptFile, "0"),
    Metadata("llama.embedding_length", .uint32(128), .corruptFile, "token_embd.weight"),
    Metadata("llama.embedding_length", .string("64"), .corruptFile),
    Metadata("llama.feed_forward_length", .uint32(64), .corruptFile, "ffn_"),
    Metadata("llama.context_length", .uint32(0), .corruptFile, "0"),
    Metadata("llama.attention.key_length", .uint32(15), .unsupported, "15"),
    Metadata("llama.attention.value_length", .uint32(8), .unsupported, "8", "16"),
    Metadata("llama.rope.scaling.type", .string("dynamic"), .unsupported, "dynamic"),
    Metadata(
      "llama.rope.scaling.type", .string("yarn"), .corruptFile, "original_context_length"),
    Metadata("llama.rope.scaling.attn_factor", .float32(0), .corruptFile, "0.0"),
    Metadata("llama.rope.freq_base_swa", .float32(1), .corruptFile, "1.0"),
    Metadata("llama.attention.scale", .float32(-1), .corruptFile, "-1.0"),
    Metadata("llama.attention.scale", .uint32(1), .corruptFile),
    Metadata("llama.attention.clamp_kqv", .float32(.nan), .corruptFile),
    Metadata("llama.hidden_activation", .string("relu"), .unsupported, "'relu'; known: silu, gelu"),
    Metadata("llama.hidden_activation", .float32(1), .corruptFile, "hidden_activation"),
    Metadata("llama.attn_logit_softcapping", .float32(-2), .corruptFile, "-2.0"),
    Metadata("llama.final_logit_softcapping", .float32(1e9), .corruptFile),
    Metadata("llama.attention.sliding_window", .int32(-1), .corruptFile, "-1"),
    Metadata("llama.attention.sliding_window_pattern", .uint32(5000), .corruptFile, "5000"),
    Metadata("llama.attention.sliding_window_pattern", .array([true]), .corruptFile, "1"),
    Metadata("llama.expert_count", .uint32(4), .corruptFile, "expert_used_count"),
    Metadata("llama.expert_count", .uint32(1 << 20), .corruptFile, "1048576"),
    Metadata("llama.rope.freq_base", .float32(.nan), .corruptFile),
    Metadata("llama.rope.freq_base", .float32(-1), .corruptFile, "-1"),
    Metadata("llama.rope.freq_base", .float32(.infinity), .corruptFile),
    Metadata("llama.rope.dimension_count", .uint32(32), .corruptFile, "32"),
    Metadata("llama.attention.layer_norm_rms_epsilon", .float32(.nan), .corruptFile),
  ])
  func metadata(_ wrong: Metadata) throws {
    let variant = try Variant("tiny-llama.gguf", set: [(wrong.key, wrong.value)])
    // A count of layers, sizes that tensors contradict and an odd head are named by their effect.
    let named = ![
      "blk.2.", "token_embd.weight", "ffn_", "15", "original_context_length", "expert_used_count",
    ].contains(wrong.words.first ?? "")
    expect(wrong.kind, variant.path, wrong.words + (named ? [wrong.key] : [])) {
      _ = try Model(path: variant.path)
    }
  }

  @Test(arguments: [
    "token_embd.weight", "output_norm.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight",
    "blk.1.attn_norm.weight",
  ])
  func missingTensor(name: String) throws {
    let variant = try Variant("tiny-llama.gguf", without: [name])
    expect(.corruptFile, variant.path, [name]) { _ = try Model(path: variant.path) }
  }

  /// What other families have, missing or of another shape.
  @Test(arguments: [
    ("gpt2", "position_embd.weight"), ("gpt2", "blk.0.attn_qkv.weight"),
    ("gemma2", "blk.1.post_ffw_norm.weight"), ("olmo2", "blk.0.post_attention_norm.weight"),
    ("qwen3", "blk.0.attn_q_norm.weight"), ("phi3", "blk.0.ffn_down.weight"),
    ("mixtral", "blk.1.ffn_gate_inp.weight"), ("mixtral", "blk.0.ffn_down_exps.weight"),
  ])
  func missingPart(model: String, name: String) throws {
    let fixture = "architectures/\(model).gguf"
    let without = try Variant(fixture, without: [name])
    // Without a fused tensor, that of a part is looked for.
    let stem = name.contains("qkv") ? "blk.0.attn_q.weight" : name
    expect(.corruptFile, without.path, [stem]) { _ = try Model(path: without.path) }
    let other = try Variant(fixture, replace: [name: (.f32, [3, 5])])
    expect(.corruptFile, other.path, [name]) { _ = try Model(path: other.path) }
  }

  @Test func factorsThatAreZero() throws {
    let name = "rope_factors_long.weight"
    let fixture = "architectures/phi3-longrope.gguf"
    let shape = try GGUFFile(path: Fixtures.path(fixture)).tensor(name)!.shape
    let variant = try Variant(fixture, replace: [name: (.f32, shape)])
    expect(.corruptFile, variant.path, [name]) { _ = try Model(path: variant.path) }
  }

  /// Scores of experts that are no numbers spoil the result, and nothing else.
  @Test func brokenRouter() throws {
    let name = "blk.0.ffn_gate_inp.weight"
    let fixture = "architectures/mixtral.gguf"
    let shape = try GGUFFile(path: Fixtures.path(fixture)).tensor(name)!.shape
    let variant = try Variant(fixture, replace: [name: (.f32, shape)], fill: 0xff)
    let rig = try Rig(variant.path, threads: 2, context: 64)
    for row in try rig.fresh([5, 6, 7]) { #expect(row.allSatisfy { $0.isNaN }) }
  }

  @Test func missingBias() throws {
    let variant = try Variant("tiny-qwen2.gguf", without: ["blk.1.attn_k.bias"])
    expect(.corruptFile, variant.path, ["blk.1.attn_k.bias"]) { _ = try Model(path: variant.path) }
  }

  @Test(arguments: [
    ("blk.0.attn_k.weight", TensorType.f32, [64, 64], IVGError.Kind.corruptFile),
    ("blk.0.attn_q.weight", .f32, [32, 64], .corruptFile),
    ("output.weight", .f32, [64, 319], .corruptFile),
    ("token_embd.weight", .f32, [64, 319], .corruptFile),
    ("blk.1.ffn_norm.weight", .f32, [32], .corruptFile),
    ("blk.1.ffn_norm.weight", .q8_0, [64], .unsupported),
    ("output_norm.weight", .f16, [64], .unsupported),
  ])
  func wrongTensor(name: String, type: TensorType, shape: [Int], kind: IVGError.Kind) throws {
    let variant = try Variant("tiny-llama.gguf", replace: [name: (type, shape)])
    expect(kind, variant.path, [name]) { _ = try Model(path: variant.path) }
  }

  @Test func adapters() throws {
    let rig = try Rig()
    let other = try Rig("tiny-qwen2.gguf")
    let small = try Rig("tiny-llama-untuned.gguf")
    let path = Fixtures.path("tiny-adapter.gguf")
    expect(.mismatch, path, ["general.architecture", "qwen2"]) {
      _ = try Adapter(path: path, trunk: other.trunk)
    }
    expect(.mismatch, path, ["blk.1."]) { _ = try Adapter(path: path, trunk: small.trunk) }
    let stem = "blk.0.attn_q.weight"
    let unknown = try Variant(
      "tiny-adapter.gguf",
      rename: [stem + ".lora_a": "blk.0.strange.lora_a", stem + ".lora_b": "blk.0.strange.lora_b"])
    expect(.mismatch, unknown.path, ["blk.0.strange.lora_a"]) {
      _ = try Adapter(path: unknown.path, trunk: rig.trunk)
    }
    let half = try Variant("tiny-adapter.gguf", without: [stem + ".lora_b"])
    expect(.corruptFile, half.path, [stem + ".lora_b"]) {
      _ = try Adapter(path: half.path, trunk: rig.trunk)
    }
    let shape = try Variant("tiny-adapter.gguf", replace: [stem + ".lora_b": (.f32, [5, 64])])
    expect(.mismatch, shape.path, [stem]) { _ = try Adapter(path: shape.path, trunk: rig.trunk) }
    let type = try Variant("tiny-adapter.gguf", replace: [stem + ".lora_a": (.q8_0, [64, 4])])
    expect(.unsupported, type.path, [stem + ".lora_a"]) {
      _ = try Adapter(path: type.path, trunk: rig.trunk)
    }
    let kind = try Variant("tiny-adapter.gguf", set: [("adapter.type", .string("dora"))])
    expect(.unsupported, kind.path, ["adapter.type", "dora"]) {
      _ = try Adapter(path: kind.path, trunk: rig.trunk)
    }
  }

  @Test func heads() throws {
    let rig = try Rig()
    let name = "score_head.weight"
    let narrow = try Variant("tiny-value-vocabulary.gguf", replace: [name: (.f32, [32, 320])])
    expect(.mismatch, narrow.path, [name, "32", "64"]) {
      _ = try ValueHead(path: narrow.path, trunk: rig.trunk)
    }
    let tall = try Variant("tiny-value-vocabulary.gguf", replace: [name: (.f32, [64, 321])])
    expect(.mismatch, tall.path, [name, "321"]) {
      _ = try ValueHead(path: tall.path, trunk: rig.trunk)
    }
    let scalar = try Variant("tiny-value-scalar.gguf", replace: [name: (.f32, [64, 2])])
    expect(.mismatch, scalar.path, [name, "2"]) {
      _ = try ValueHead(path: scalar.path, trunk: rig.trunk)
    }
    let key = "value_head.trunk.embedding_length"
    let trunk = try Variant("tiny-value-scalar.gguf", set: [(key, .uint32(65))])
    expect(.mismatch, trunk.path, [key, "65"]) {
      _ = try ValueHead(path: trunk.path, trunk: rig.trunk)
    }
    let kind = try Variant("tiny-value-scalar.gguf", set: [("value_head.kind", .string("odd"))])
    expect(.unsupported, kind.path, ["value_head.kind", "odd"]) {
      _ = try ValueHead(path: kind.path, trunk: rig.trunk)
    }
    let empty = try Variant("tiny-value-scalar.gguf", without: [name])
    expect(.corruptFile, empty.path, [name]) {
      _ = try ValueHead(path: empty.path, trunk: rig.trunk)
    }
  }

  /// One kind of file in the place of another.
  @Test func exchanged() throws {
    let rig = try Rig()
    let model = Fixtures.path("tiny-llama.gguf")
    let adapter = Fixtures.path("tiny-adapter.gguf")
    let head = Fixtures.path("tiny-value-scalar.gguf")
    for path in [adapter, head] {
      expect(.mismatch, path, ["general.type"]) { _ = try Model(path: path) }
    }
    for path in [model, head] {
      expect(.mismatch, path, ["general.type"]) { _ = try Adapter(path: path, trunk: rig.trunk) }
    }
    for path in [model, adapter] {
      expect(.mismatch, path, ["general.type"]) { _ = try ValueHead(path: path, trunk: rig.trunk) }
    }
    #expect(try Model(path: Fixtures.path("tiny-vocabulary-only.gguf")).trunk == nil)
  }

  /// Every byte 0xFF is a NaN in F32, F16 and in the scale of a quantised block.
  @Test(arguments: [
    ("tiny-llama.gguf", "blk.0.ffn_down.weight", TensorType.f32, [96, 64]),
    ("tiny-llama.gguf", "blk.0.attn_k.weight", .f16, [64, 32]),
    ("tiny-llama-q8_0.gguf", "blk.0.attn_v.weight", .q8_0, [64, 32]),
    ("tiny-llama-q4_0.gguf", "blk.1.ffn_gate.weight", .q4_0, [64, 96]),
    ("tiny-llama.gguf", "output_norm.weight", .f32, [64]),
  ])
  func notANumber(file: String, name: String, type: TensorType, shape: [Int]) throws {
    let variant = try Variant(file, replace: [name: (type, shape)], fill: 0xFF)
    for row in try Rig(variant.path, threads: 2).fresh(tokens(20, seed: 80)) {
      #expect(row.allSatisfy { $0.isNaN })
    }
  }
}
