"""Slices as one Enhanced CT Image, a multi-frame object (PS3.3, A.38 and C.8.15)."""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedCTImageStorage

from sinsok.phantom.dicom import SeriesHeader, decimal, derived_uid, stored
from sinsok.phantom.space import Float, Grid


def ct_image(header: SeriesHeader, hounsfield: Float, grid: Grid) -> Dataset:
    """All slices of ``hounsfield`` [z, y, x] as the frames of one Enhanced CT Image, from the feet up."""
    ds = header.instance(EnhancedCTImageStorage, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.AcquisitionDateTime = f"{ds.AcquisitionDate}{ds.AcquisitionTime}"
    del ds.AcquisitionDate, ds.AcquisitionTime
    ds.AcquisitionDuration = 20.0
    ds.ContentQualification = "RESEARCH"
    ds.PixelPresentation = "MONOCHROME"
    ds.VolumetricProperties = "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.MultienergyCTAcquisition = "NO"
    ds.LossyImageCompression = "00"
    ds.PresentationLUTShape = "IDENTITY"
    ds.AcquisitionContextSequence = Sequence([])
    _index_by_position(ds, header)
    ds.SharedFunctionalGroupsSequence = Sequence([_shared(grid, header)])
    ds.PerFrameFunctionalGroupsSequence = Sequence(_frame(grid, index, ds) for index in range(grid.shape[0]))
    ds.NumberOfFrames = grid.shape[0]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = grid.shape[1:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.add_new("PixelData", "OW", stored(hounsfield + 1024))
    return ds


def _index_by_position(ds: Dataset, header: SeriesHeader) -> None:
    organization: UID = derived_uid("dimensions", header.entropy)
    ds.DimensionOrganizationType = "3D"
    ds.DimensionOrganizationSequence = Sequence([_item(DimensionOrganizationUID=organization)])
    ds.DimensionIndexSequence = Sequence(
        [
            _item(
                DimensionOrganizationUID=organization,
                DimensionIndexPointer=0x00200032,
                FunctionalGroupPointer=0x00209113,
            )
        ]
    )


def _frame(grid: Grid, index: int, ds: Dataset) -> Dataset:
    return _group(
        FrameContentSequence=_item(
            FrameAcquisitionNumber=1,
            FrameReferenceDateTime=ds.AcquisitionDateTime,
            FrameAcquisitionDateTime=ds.AcquisitionDateTime,
            FrameAcquisitionDuration=500.0,
            DimensionIndexValues=[index + 1],
        ),
        PlanePositionSequence=_item(ImagePositionPatient=[decimal(value) for value in grid.position_mm(index)]),
    )


def _shared(grid: Grid, header: SeriesHeader) -> Dataset:
    field_mm = grid.shape[2] * grid.spacing_mm[2]
    head = _code("69536005", "SCT", "Head")
    return _group(
        PixelMeasuresSequence=_item(
            PixelSpacing=[decimal(value) for value in grid.spacing_mm[1:]],
            SliceThickness=decimal(grid.spacing_mm[0]),
            SpacingBetweenSlices=decimal(grid.spacing_mm[0]),
        ),
        PlaneOrientationSequence=_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        FrameAnatomySequence=_item(FrameLaterality="U", AnatomicRegionSequence=Sequence([head])),
        PixelValueTransformationSequence=_item(RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU"),
        FrameVOILUTSequence=_item(WindowCenter="40", WindowWidth="80"),
        IrradiationEventIdentificationSequence=_item(IrradiationEventUID=derived_uid("irradiation", header.entropy)),
        CTImageFrameTypeSequence=_item(
            FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            PixelPresentation="MONOCHROME",
            VolumetricProperties="VOLUME",
            VolumeBasedCalculationTechnique="NONE",
        ),
        CTAcquisitionTypeSequence=_item(AcquisitionType="SEQUENCED", ConstantVolumeFlag="NO", FluoroscopyFlag="NO"),
        CTAcquisitionDetailsSequence=_item(
            RotationDirection="CW",
            RevolutionTime=1.0,
            SingleCollimationWidth=1.2,
            TotalCollimationWidth=24.0,
            TableHeight=150.0,
            GantryDetectorTilt=0.0,
            DataCollectionDiameter=500.0,
        ),
        CTTableDynamicsSequence=_item(TableSpeed=0.0, TableFeedPerRotation=0.0, SpiralPitchFactor=0.0),
        CTPositionSequence=_item(
            TablePosition=0.0, DataCollectionCenterPatient=[0.0] * 3, ReconstructionTargetCenterPatient=[0.0] * 3
        ),
        CTGeometrySequence=_item(DistanceSourceToDetector=1040.0, DistanceSourceToDataCollectionCenter=570.0),
        CTReconstructionSequence=_item(
            ReconstructionAlgorithm="FILTER_BACK_PROJ",
            ConvolutionKernel="H31s",
            ConvolutionKernelGroup="BRAIN",
            ReconstructionDiameter=field_mm,
            ReconstructionPixelSpacing=[float(value) for value in grid.spacing_mm[1:]],
            ReconstructionAngle=360.0,
            ImageFilter="NONE",
        ),
        CTExposureSequence=_item(
            ExposureTimeInms=1000.0,
            XRayTubeCurrentInmA=250.0,
            ExposureInmAs=250.0,
            ExposureModulationType="NONE",
            CTDIvol=50.0,
            CTDIPhantomTypeCodeSequence=Sequence([_code("113690", "DCM", "IEC Head Dosimetry Phantom")]),
        ),
        CTXRayDetailsSequence=_item(KVP="120", FocalSpots=[1.2], FilterType="FLAT", FilterMaterial="ALUMINUM"),
    )


def _group(**sequences: Dataset) -> Dataset:
    return _item(**{keyword: Sequence([item]) for keyword, item in sequences.items()})


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds
