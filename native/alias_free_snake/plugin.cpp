#include "plugin.h"

#include <new>

#include "core.h"
#include "kernel.h"

using nvinfer1::DataType;
using nvinfer1::DimensionOperation;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginTensorDesc;

namespace slm::alias_free_snake {
namespace {

constexpr char kName[] = "AliasFreeSnakeBeta";
constexpr char kVersion[] = "1";
constexpr char kNamespace[] = "slm_deploy";  // also the domain of the ONNX node
constexpr int32_t kSuccess = 0;
constexpr int32_t kFailure = -1;

enum Input { kWindow, kFrequency, kGain, kUp, kDown, kEnds, kInputs };
enum Axis { kBatch, kChannels, kHeight, kTime, kAxes };

const PluginFieldCollection kNoFields{0, nullptr};

bool is_sample_type(DataType type) {
  return type == DataType::kFLOAT || type == DataType::kHALF || type == DataType::kBF16;
}

SampleType sample_type(DataType type) {
  return type == DataType::kFLOAT  ? SampleType::kFloat
         : type == DataType::kHALF ? SampleType::kHalf
                                   : SampleType::kBfloat16;
}

bool has_values(const Dims& dims, int64_t count) {
  return dims.nbDims == 1 && dims.d[0] == count;
}

// -1 is a size that only a run decides.
bool fits(const Dims& window, const Dims& frequency, const Dims& gain, const Dims& up,
          const Dims& down, const Dims& ends) {
  return window.nbDims == kAxes && window.d[kHeight] == 1 &&
         (window.d[kTime] == -1 || window.d[kTime] >= 2 * kReach) &&
         has_values(frequency, window.d[kChannels]) && has_values(gain, window.d[kChannels]) &&
         has_values(up, kTaps) && has_values(down, kTaps) && ends.nbDims == 2 &&
         ends.d[0] == window.d[kBatch] && ends.d[1] == 2;
}

}  // namespace

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(PluginCapabilityType type) noexcept {
  switch (type) {
    case PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

nvinfer1::IPluginV3* Plugin::clone() noexcept { return new (std::nothrow) Plugin(*this); }

const char* Plugin::getPluginName() const noexcept { return kName; }

const char* Plugin::getPluginVersion() const noexcept { return kVersion; }

const char* Plugin::getPluginNamespace() const noexcept { return kNamespace; }

int32_t Plugin::getNbOutputs() const noexcept { return 1; }

int32_t Plugin::getOutputDataTypes(DataType* outputs, int32_t output_count, const DataType* inputs,
                                   int32_t input_count) const noexcept {
  if (input_count != kInputs || output_count != 1) {
    return kFailure;
  }
  outputs[0] = inputs[kWindow];
  return kSuccess;
}

int32_t Plugin::getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*,
                                int32_t, DimsExprs* outputs, int32_t output_count,
                                nvinfer1::IExprBuilder& expressions) noexcept {
  if (input_count != kInputs || output_count != 1 || inputs[kWindow].nbDims != kAxes) {
    return kFailure;
  }
  outputs[0] = inputs[kWindow];
  outputs[0].d[kTime] =
      expressions.operation(DimensionOperation::kSUB, *inputs[kWindow].d[kTime],
                            *expressions.constant(2 * kReach));
  return kSuccess;
}

bool Plugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors,
                                       int32_t input_count, int32_t output_count) noexcept {
  if (input_count != kInputs || output_count != 1 ||
      tensors[position].desc.format != nvinfer1::TensorFormat::kLINEAR) {
    return false;
  }
  const DataType type = tensors[position].desc.type;
  switch (position) {
    case kWindow:
      return is_sample_type(type);
    case kEnds:
      return type == DataType::kINT64;
    case kInputs:  // the output
      return type == tensors[kWindow].desc.type;
    default:
      return type == DataType::kFLOAT;
  }
}

int32_t Plugin::configurePlugin(const DynamicPluginTensorDesc* inputs, int32_t input_count,
                                const DynamicPluginTensorDesc*, int32_t) noexcept {
  const auto dims = [inputs](Input input) { return inputs[input].desc.dims; };
  const bool good = input_count == kInputs && fits(dims(kWindow), dims(kFrequency), dims(kGain),
                                                   dims(kUp), dims(kDown), dims(kEnds));
  return good ? kSuccess : kFailure;
}

int32_t Plugin::onShapeChange(const PluginTensorDesc* inputs, int32_t input_count,
                              const PluginTensorDesc*, int32_t) noexcept {
  const auto dims = [inputs](Input input) { return inputs[input].dims; };
  const bool good = input_count == kInputs && fits(dims(kWindow), dims(kFrequency), dims(kGain),
                                                   dims(kUp), dims(kDown), dims(kEnds));
  return good ? kSuccess : kFailure;
}

int32_t Plugin::enqueue(const PluginTensorDesc* input_descriptions,
                        const PluginTensorDesc* output_descriptions, const void* const* inputs,
                        void* const* outputs, void*, cudaStream_t stream) noexcept {
  const auto floats = [inputs](Input input) { return static_cast<const float*>(inputs[input]); };
  const Tensors tensors{inputs[kWindow], floats(kFrequency), floats(kGain), floats(kUp),
                        floats(kDown),   static_cast<const int64_t*>(inputs[kEnds]),
                        outputs[0]};
  const Dims& dims = output_descriptions[0].dims;
  const Sizes sizes{dims.d[kBatch], dims.d[kChannels], dims.d[kTime]};
  const SampleType type = sample_type(input_descriptions[kWindow].type);
  return launch(type, tensors, sizes, stream) == cudaSuccess ? kSuccess : kFailure;
}

nvinfer1::IPluginV3* Plugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
  return clone();
}

const PluginFieldCollection* Plugin::getFieldsToSerialize() noexcept { return &kNoFields; }

nvinfer1::IPluginV3* PluginCreator::createPlugin(const char*, const PluginFieldCollection*,
                                                 nvinfer1::TensorRTPhase) noexcept {
  return new (std::nothrow) Plugin;
}

const PluginFieldCollection* PluginCreator::getFieldNames() noexcept { return &kNoFields; }

const char* PluginCreator::getPluginName() const noexcept { return kName; }

const char* PluginCreator::getPluginVersion() const noexcept { return kVersion; }

const char* PluginCreator::getPluginNamespace() const noexcept { return kNamespace; }

}  // namespace slm::alias_free_snake

// What IPluginRegistry::loadLibrary and trtexec's --dynamicPlugins call. Nothing of TensorRT's own
// library is linked.
extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder*) {}

extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const*
getCreators(int32_t& count) {
  static slm::alias_free_snake::PluginCreator creator;
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&creator};
  count = 1;
  return creators;
}
