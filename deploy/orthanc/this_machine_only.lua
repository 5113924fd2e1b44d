-- Debian's Orthanc binds its DICOM port on every interface; what other machines send is not kept.
function ReceivedInstanceFilter(dicom, origin)
  return origin["RemoteIp"] == nil or origin["RemoteIp"] == "" or origin["RemoteIp"] == "127.0.0.1"
end
