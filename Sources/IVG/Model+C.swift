import CIVG
import Guidance
import Tensor
import Tokenizer
import Transformer

final class ModelHandle {
  let model: LanguageModel
  let path: LentString?
  let architecture: LentString?
  let name: LentString?
  let chatTemplate: LentString?
  let chatFamily: LentString?

  init(_ model: LanguageModel) throws(IVGError) {
    self.model = model
    guard case .file(let file) = model.source else {
      (path, architecture, name, chatTemplate, chatFamily) = (nil, nil, nil, nil, nil)
      return
    }
    path = LentString(file.file.path)
    architecture = file.architectureName.isEmpty ? nil : LentString(file.architectureName)
    name = try file.file.metadata.string("general.name").map { LentString($0) }
    chatTemplate = try file.file.metadata.string("tokenizer.chat_template").map {
      LentString($0)
    }
    chatFamily = (try? model.chatTemplate(nil)).map { LentString($0.family) }
  }

  static func of(_ pointer: OpaquePointer) -> ModelHandle {
    Handle.object(pointer, as: ModelHandle.self)
  }
}

@_cdecl("ivg_model_options_init") @implementation
public func ivg_model_options_init(
  _ options: UnsafeMutablePointer<ivg_model_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_model_open") @implementation
public func ivg_model_open(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ path: UnsafePointer<CChar>,
  _ options: UnsafePointer<ivg_model_options>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    _ = try Struct.read(options, "ivg_model_options", reserved: { $0.reserved })
    let model = try Model(path: String(cString: path))
    out.pointee = Handle.retain(try ModelHandle(LanguageModel(model)))
    Log.info("opened \(model.file.path), kernels \(Kernels.current.name)")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_model_free") @implementation
public func ivg_model_free(_ model: OpaquePointer?) { Handle.release(model, as: ModelHandle.self) }

@_cdecl("ivg_model_information") @implementation
public func ivg_model_information(
  _ model: OpaquePointer, _ info: UnsafeMutablePointer<ivg_model_info>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = ModelHandle.of(model)
    let tokenizer = handle.model.tokenizer
    var value = ivg_model_info()
    value.vocabulary_size = UInt32(tokenizer.vocabularySize)
    value.begin_token = tokenizer.beginToken ?? -1
    value.end_token = tokenizer.endToken ?? -1
    value.adds_begin_token = tokenizer.addsBeginToken ? 1 : 0
    switch handle.model.source {
    case .hosted(let host): value.context_length = UInt32(clamping: host.contextLength)
    case .file(let file):
      value.file_size = UInt64(file.file.fileSize)
      value.vocabulary_only = file.trunk == nil ? 1 : 0
      if let trunk = file.trunk {
        value.context_length = UInt32(clamping: trunk.configuration.contextLength)
        value.embedding_length = UInt32(clamping: trunk.configuration.hiddenSize)
        value.layer_count = UInt32(clamping: trunk.configuration.layerCount)
        value.parameter_count = UInt64(trunk.parameterCount)
      }
    }
    value.path = handle.path?.borrowed
    value.architecture = handle.architecture?.borrowed
    value.name = handle.name?.borrowed
    value.chat_template = handle.chatTemplate?.borrowed
    try Struct.write(value, to: info, "ivg_model_info")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_model_tokenize") @implementation
public func ivg_model_tokenize(
  _ model: OpaquePointer, _ text: UnsafePointer<CChar>, _ text_length: Int, _ flags: UInt32,
  _ tokens: UnsafeMutablePointer<Int32>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let tokenizer = ModelHandle.of(model).model.tokenizer
    try Input.check(
      flags: flags,
      known: IVG_TOKENIZE_SPECIAL, IVG_TOKENIZE_BEGIN, IVG_TOKENIZE_CONTINUES)
    let ids = try tokenizer.encode(
      Input.bytes(text, text_length, "text_length"),
      parseSpecial: flags & UInt32(IVG_TOKENIZE_SPECIAL) != 0,
      addBegin: flags & UInt32(IVG_TOKENIZE_BEGIN) != 0 && tokenizer.addsBeginToken,
      continues: flags & UInt32(IVG_TOKENIZE_CONTINUES) != 0)
    count.pointee = ids.count
    guard ids.count <= capacity else {
      throw IVGError(
        .bufferTooSmall, "the buffer holds \(capacity) tokens; \(ids.count) are needed")
    }
    tokens?.update(from: ids, count: ids.count)
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_model_detokenize") @implementation
public func ivg_model_detokenize(
  _ model: OpaquePointer, _ tokens: UnsafePointer<Int32>, _ count: Int, _ flags: UInt32,
  _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int, _ needed: UnsafeMutablePointer<Int>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let tokenizer = ModelHandle.of(model).model.tokenizer
    try Input.check(
      flags: flags, known: IVG_DETOKENIZE_SKIP_CONTROL, IVG_DETOKENIZE_CONTINUES)
    let ids = try Input.array(tokens, count, "count")
    if let odd = ids.first(where: { $0 < 0 || Int($0) >= tokenizer.vocabularySize }) {
      throw IVGError(
        .invalidArgument,
        "token \(odd) is outside the vocabulary of \(tokenizer.vocabularySize)")
    }
    let bytes = tokenizer.decode(
      ids, skipControl: flags & UInt32(IVG_DETOKENIZE_SKIP_CONTROL) != 0,
      continues: flags & UInt32(IVG_DETOKENIZE_CONTINUES) != 0)
    try Text.write(bytes, to: buffer, capacity, needed, terminated: false)
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_model_token_ends") @implementation
public func ivg_model_token_ends(_ model: OpaquePointer, _ token: Int32) -> Int32 {
  ModelHandle.of(model).model.tokenizer.endTokens.contains(token) ? 1 : 0
}
