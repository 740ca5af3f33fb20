import CIVG
import Guidance
import Tensor

@_cdecl("ivg_hosted_options_init") @implementation
public func ivg_hosted_options_init(
  _ options: UnsafeMutablePointer<ivg_hosted_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_model_create_hosted") @implementation
public func ivg_model_create_hosted(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ vocabulary: OpaquePointer,
  _ options: UnsafePointer<ivg_hosted_options>, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let options = try Struct.read(options, "ivg_hosted_options")!
    guard let logits = options.logits else {
      throw IVGError(.invalidArgument, "ivg_hosted_options.logits is NULL")
    }
    let userData = options.user_data
    let finalizer = Finalizer(options.finalizer, userData)
    let host = HostedModel(
      contextLength: options.context_length == 0 ? 4096 : Int(options.context_length),
      compute: { rows, size in
        let requests = rows.map {
          ivg_hosted_row(tokens: $0.tokens, token_count: $0.tokenCount, logits: $0.logits)
        }
        return requests.withUnsafeBufferPointer {
          logits(userData, $0.baseAddress!, $0.count, size) == 0
        }
      },
      finalizer: finalizer.run)
    let model = LanguageModel(
      hosted: host, vocabulary: ModelHandle.of(vocabulary).model.tokenizer)
    out.pointee = Handle.retain(try ModelHandle(model))
    finalizer.arm()
    return ivg_status(IVG_OK)
  }
}
